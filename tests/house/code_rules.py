"""The rules on code that linters do not know: each takes one file and gives its violations as ``path:line: what``."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import PurePosixPath

from schemas import errors

from source_tree import Source, dotted, imported

FORBIDDEN_NAMES = frozenset({"utils", "util", "helpers", "helper", "common", "base", "manager", "managers", "misc"})
LINES_MAX = 500
FUNCTION_LINES_MAX = 70

#: The classes of the error tree.
OUR_ERRORS = frozenset(name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, errors.HeadraceError))

#: Imports that a pure layer does without; modules of the standard library and foreign ones alike.
IMPURE_MODULES = frozenset(
    {
        *("time", "random", "secrets", "uuid", "os", "sys", "signal", "io.open", "glob", "tempfile", "shutil", "sqlite3"),
        *("logging", "structlog", "rich", "typer", "prometheus_client", "opentelemetry"),
        *("socket", "ssl", "http", "urllib", "requests", "httpx", "aiohttp", "grpc"),
        *("subprocess", "threading", "multiprocessing", "asyncio", "concurrent", "tenacity"),
        *("confluent_kafka", "psycopg", "qdrant_client", "tritonclient", "bytewax", "faust", "pyflink"),
    }
)
#: Calls that read a clock, draw at random, do input or output, or depend on the process (``hash`` of a string differs between processes).
IMPURE_CALLS = frozenset({"open", "print", "input", "hash", "breakpoint", "exec", "eval", "globals"})
IMPURE_METHODS = frozenset(
    {"now", "utcnow", "today", "write_text", "write_bytes", "unlink", "mkdir", "touch", "rmdir", "iterdir", "read_text", "read_bytes"}
)
#: Pure layers read packaged files through importlib.resources, at construction; these methods are how.
RESOURCE_METHODS = frozenset({"read_text", "read_bytes", "iterdir"})


def impure(source: Source) -> Iterator[str]:
    """Finds clocks, randomness, input, output, logs and the environment."""
    modules = [name for name, _ in imported(source.tree)]
    for name, line in imported(source.tree):
        parts = name.split(".")
        if any(".".join(parts[:length]) in IMPURE_MODULES for length in range(1, len(parts) + 1)):
            yield f"{source.path}:{line}: imports {name}"
    has_resources = any(name.startswith("importlib.resources") for name in modules)
    hash_method = {line for node in ast.walk(source.tree) if isinstance(node, ast.FunctionDef) and node.name == "__hash__" for line in _lines(node)}
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        method = name.rpartition(".")[2] if "." in name else ""
        called = name in IMPURE_CALLS and not (name == "hash" and node.lineno in hash_method)
        if called or (method in IMPURE_METHODS and not (method in RESOURCE_METHODS and has_resources)):
            yield f"{source.path}:{node.lineno}: calls {name}()"


def environment_reads(source: Source) -> Iterator[str]:
    """Finds reads of the environment, however they are spelled."""
    for name, line in imported(source.tree):
        if name in {"os.environ", "os.environb", "os.getenv", "os.getenvb"} or name.split(".")[0] in {"dotenv", "pydantic_settings"}:
            yield f"{source.path}:{line}: imports {name}"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and dotted(node) in {"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.path.expandvars"}:
            yield f"{source.path}:{node.lineno}: reads {dotted(node)}"


def vague_names(source: Source) -> Iterator[str]:
    """Finds modules and packages whose name says nothing."""
    path = PurePosixPath(source.path)
    yield from (f"{source.path}: is called {part}" for part in (*path.parts[:-1], path.stem) if part in FORBIDDEN_NAMES)


def missing_docstring(source: Source) -> Iterator[str]:
    """Finds modules with content that do not begin by saying what they are."""
    docstring = ast.get_docstring(source.tree)
    if source.text.strip() and not (docstring and docstring.split("\n")[0].endswith((".", ":"))):
        yield f"{source.path}:1: the module's docstring begins with no sentence of one line"


def too_long(source: Source) -> Iterator[str]:
    """Finds modules over 500 lines and functions over 70, docstring not counted; the place is ``path`` or ``path::name``."""
    count = source.text.count("\n")
    if count > LINES_MAX:
        yield f"{source.path}: {count} lines, at most {LINES_MAX}"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = len(_lines(node)) - _docstring_lines(node)
            if length > FUNCTION_LINES_MAX:
                yield f"{source.path}::{node.name}: {length} lines, at most {FUNCTION_LINES_MAX}"


def hidden_causes(source: Source) -> Iterator[str]:
    """Finds ``raise ... from None`` of an error that is not of our tree.

    An error of the tree is complete in itself, and stands for a foreign one whose text may quote a payload or a secret; a foreign error
    class that hides its cause leaves a person with nothing.
    """
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Raise) or not isinstance(node.cause, ast.Constant) or node.cause.value is not None:
            continue
        raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        name = "" if raised is None else dotted(raised).rpartition(".")[2] if isinstance(raised, ast.Attribute) else dotted(raised)
        if name not in OUR_ERRORS and not name.endswith("_failure"):
            yield f"{source.path}:{node.lineno}: raise {name} ... from None hides its cause"


def endless_waits(source: Source) -> Iterator[str]:
    """Finds calls to a Kafka client that wait without a deadline."""
    if not any(name.split(".")[0] == "confluent_kafka" for name, _ in imported(source.tree)):
        return
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        given = len(node.args) + len(node.keywords)
        method = node.func.attr
        if dotted(node.func.value).rpartition(".")[2] in {"stdin", "stdout", "stderr", "file", "out"}:
            continue
        if (method in {"flush", "poll", "consume", "commit_transaction", "abort_transaction", "init_transactions"} and not given) or (
            method == "flush" and any(_is_unbounded(argument) for argument in (*node.args, *(keyword.value for keyword in node.keywords)))
        ):
            yield f"{source.path}:{node.lineno}: {method}() without a deadline"


def open_addresses(source: Source) -> Iterator[str]:
    """Finds literals that make a server listen on every interface."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and (node.value.strip() == "::" or "0.0.0.0" in node.value):
            yield f"{source.path}:{node.lineno}: an address that every interface answers"


def silenced_linters(source: Source) -> Iterator[str]:
    """Finds linter waivers without a rule's name, and waivers of the rules on naive times and blind excepts."""
    for number, line in enumerate(source.text.splitlines(), start=1):
        waiver = line.partition("# noqa")[2]
        if "# noqa" in line and (not waiver.startswith(":") or "DTZ" in waiver):
            yield f"{source.path}:{number}: a waiver that names no rule, or one on naive times"
        if line.rstrip().endswith("# type: ignore"):
            yield f"{source.path}:{number}: a type waiver that names no rule"


def _is_unbounded(node: ast.expr) -> bool:
    """Tells ``None`` and ``-1``."""
    if isinstance(node, ast.Constant):
        return node.value is None
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    return (first.end_lineno or first.lineno) - first.lineno + 1 if is_docstring else 0
