"""The key of identifier hashes: made once, readable by its owner only, never short."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from schemas.errors import ConfigError
from streams.hash_key import hash_key_of, key_file_problem


def test_the_first_use_makes_a_key_that_later_uses_find(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    default = tmp_path / "private" / "hash.key"
    first = hash_key_of(None, None, default)
    assert "made a new key" in capsys.readouterr().err
    assert hash_key_of(None, None, default) == first
    assert capsys.readouterr().err == ""
    assert stat.S_IMODE(default.stat().st_mode) == 0o600
    assert stat.S_IMODE(default.parent.stat().st_mode) == 0o700
    assert len(first) == 64
    assert list(default.parent.iterdir()) == [default]


def test_two_first_uses_get_different_keys(tmp_path: Path) -> None:
    assert hash_key_of(None, None, tmp_path / "a" / "k") != hash_key_of(None, None, tmp_path / "b" / "k")


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"k" * 32)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        hash_key_of(None, path)
    path.chmod(0o600)
    assert hash_key_of(None, path) == b"k" * 32
    assert key_file_problem(path) is None


def test_a_key_file_that_is_missing_or_short_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="openssl rand"):
        hash_key_of(None, tmp_path / "absent")
    path = tmp_path / "key"
    path.write_bytes(b"k" * 15)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="at least 16 bytes, came 15"):
        hash_key_of(None, path)


def test_a_key_that_was_given_needs_no_file(tmp_path: Path) -> None:
    assert hash_key_of("0123456789abcdef", None, tmp_path / "k") == b"0123456789abcdef"
    assert not (tmp_path / "k").exists()
