"""``headrace keys``: makes, lists and rotates the keys of a key ring; shows ids, never a key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from governance.key_ring import NO_KEYS, KeyRing, KeyUse
from schemas.errors import ConfigError
from streams.cli.say import ConfigOption, tell
from streams.config import Config, load_config, load_key_ring
from streams.hash_key import DEFAULT_KEY_FILE
from streams.key_ring import DEFAULT_KEYS_FILE, read_key_ring, with_new_key, write_key_ring

keys_app = typer.Typer(name="keys", help="The key ring: make, list and rotate keys; only ids are shown.", no_args_is_help=True, rich_markup_mode=None)

FileOption = Annotated[Path | None, typer.Option("--file", help=f"Key file; default: privacy.keys_file, else {DEFAULT_KEYS_FILE}.")]


@keys_app.command("new")
def new(file: FileOption = None, config: ConfigOption = None) -> None:
    """Make a key of each use that the key file lacks; makes the file where there is none. Identifiers keep the lone hash key where there is one."""
    found = load_config(config)
    path = _file(found, file)
    ring = read_key_ring(path) if path.exists() else NO_KEYS
    missing = [use for use in KeyUse if ring.active(use) is None]
    if KeyUse.HASH in missing and _has_lone_key(found):
        missing.remove(KeyUse.HASH)
        tell("identifiers stay hashed under the key of privacy.hash_key or privacy.key_file; `headrace keys rotate hash` makes one with an id")
    _grow(path, ring, missing)


@keys_app.command("rotate")
def rotate(
    use: Annotated[KeyUse, typer.Argument(help="What the new key is for; it becomes the active one, older ones are kept for reading.")],
    file: FileOption = None,
    config: ConfigOption = None,
) -> None:
    """Make a new active key. A running pipeline goes on with the old one: stop it in order and start it again."""
    path = _file(load_config(config), file)
    _grow(path, read_key_ring(path), [use])


@keys_app.command("list")
def list_keys(file: FileOption = None, config: ConfigOption = None) -> None:
    """List the keys by use and id, and say which one is active. Reads the environment too where privacy.keys is set."""
    found = load_config(config)
    ring = load_key_ring(found) if file is None and found.privacy.keys is not None else read_key_ring(_file(found, file))
    for key in ring.keys:
        print(f"{key.use:<5} {key.kid} {'active' if ring.active(key.use) == key else 'for reading'}")


@keys_app.command("rewrap")
def rewrap(config: ConfigOption = None) -> None:
    """Wrap the keys of all persons in the database under the active wrap key, so that older ones can leave the key file."""
    from sinks.person_key_store import PersonKeyStore

    found = load_config(config)
    if found.timescale is None:
        raise ConfigError("timescale: the section is absent, and the keys of persons lie in PostgreSQL; add timescale.dsn")
    store = PersonKeyStore(found.timescale.dsn.get_secret_value(), load_key_ring(found))
    try:
        print(f"rewrapped {store.rewrap()} keys of persons")
    finally:
        store.close()


def _file(config: Config, named: Path | None) -> Path:
    if named is None and config.privacy.keys is not None:
        raise ConfigError("privacy.keys: the keys come from the environment; give a key file with --file, or unset it")
    return named or config.privacy.keys_file or DEFAULT_KEYS_FILE


def _has_lone_key(config: Config) -> bool:
    privacy = config.privacy
    return privacy.hash_key is not None or privacy.key_file is not None or DEFAULT_KEY_FILE.exists()


def _grow(path: Path, ring: KeyRing, uses: list[KeyUse]) -> None:
    """Adds a key of each use, and says under which ids."""
    made = []
    for use in uses:
        ring, key = with_new_key(ring, use)
        made.append(key)
    if made:
        write_key_ring(path, ring)
    print("\n".join(f"made {key.use} {key.kid} in {path}" for key in made) or f"{path} has a key of every use")
