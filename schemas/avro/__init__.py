"""The Avro schemas of all topics, as packaged files: ``text(name)`` gives one."""

from __future__ import annotations

from importlib.resources import files


def text(name: str) -> str:
    """Gives the text of ``schemas/avro/<name>.avsc``; FileNotFoundError where no such schema ships."""
    return (files(__name__) / f"{name}.avsc").read_text(encoding="utf-8")


def names() -> tuple[str, ...]:
    """Gives the names of all shipped schemas, sorted."""
    return tuple(sorted(item.name.removesuffix(".avsc") for item in files(__name__).iterdir() if item.name.endswith(".avsc")))
