"""The policy that a run obeys, with its text: read from a file with the schemas beside it, or the one that is packaged."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Final

from governance.parse import parse_policy
from governance.policy import Policy
from governance.schema_files import schema_files, with_schemas
from schemas.errors import ConfigError

_SCHEMA_BYTES_MAX: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy as it was read.

    Attributes:
        policy: The parsed policy.
        text: The YAML text, with the schemas of files in their places: it needs no file beside it.
    """

    policy: Policy
    text: str


def load_policy(path: Path | None) -> PolicyFile:
    """Gives the policy in a file; None gives the packaged one.

    Raises:
        ConfigError: The file cannot be read, or with every problem in it and in the schemas that it names.
    """
    name = "policies/default.yaml" if path is None else str(path)
    try:
        text = (resources.files("governance").joinpath(name) if path is None else path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the policy cannot be read ({type(error).__name__}); check pipeline.policy or --policy") from None
    problems: list[str] = []
    if path is not None:
        folder = path.parent
        text, problems = with_schemas(text, name, lambda file: _schema_text(folder, file))
    try:
        policy = parse_policy(text, name)
    except ConfigError as error:
        raise ConfigError(*problems, *error.problems) from None
    if problems:
        raise ConfigError(*problems)
    return PolicyFile(policy, text)


def schema_paths(path: Path) -> tuple[Path, ...]:
    """Gives the files of schemas that a policy names, whether they are there or not."""
    try:
        named = schema_files(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return ()
    return tuple(dict.fromkeys(path.parent / place.file for place in named))


def _schema_text(folder: Path, file: str) -> str:
    if not file or PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts:
        raise ConfigError("must be the name of a file in the folder of the policy or below it")
    try:
        data = (folder / file).read_bytes()
        if len(data) > _SCHEMA_BYTES_MAX:
            raise ConfigError(f"must be {_SCHEMA_BYTES_MAX} bytes at most, has {len(data)}")
        return data.decode("utf-8")
    except (OSError, ValueError) as error:
        problem = f"the schema cannot be read ({type(error).__name__}); paths are relative to the policy"
    raise ConfigError(problem)
