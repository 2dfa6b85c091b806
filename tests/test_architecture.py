"""Imports go one way, TensorFlow is imported only where it is needed, public names resolve."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("kmeans_module", "export", "serving")
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
}
#: Those whose public names are the names of their ``__init__.pyi``.
PUBLIC_PACKAGES = sorted(
    ".".join(path.relative_to(ROOT).parent.parts)
    for package in PACKAGES
    for path in (ROOT / package).rglob("__init__.pyi")
)

#: What a client machine without TensorFlow imports.
LIGHT = (
    "kmeans_module",
    "kmeans_module.contract",
    "export",
    "export.golden_requests",
    "export.model_card",
    "export.repository",
    "serving",
    "serving.GrpcClient",
    "serving.RestClient",
    "serving.cli",
    "tfkmeans.GrpcClient",
)


def test_imports_go_one_way_between_packages_and_between_the_rooms_of_serving() -> None:
    # The contracts are in pyproject.toml.
    # In a process of its own, for it sets up logging anew, and that of other tests with it.
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    linted = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize("name", LIGHT)
def test_a_light_part_imports_without_tensorflow(name: str) -> None:
    package, _, attribute = name.partition(".")
    code = f"import json, sys; import {package}\n"
    if attribute[:1].isupper():
        code += f"{package}.{attribute}\n"
    elif attribute:
        code += f"import {name}\n"
    code += "print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"tensorflow", "pyarrow", "starlette", "uvicorn"}
    assert heavy.isdisjoint(json.loads(run.stdout))


@pytest.mark.parametrize("package", PUBLIC_PACKAGES)
def test_every_public_name_resolves_and_none_is_hidden_by_a_module(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__all__
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        if f"{package}.{name}" in MODULES:
            assert package not in PACKAGES, f"{name} is a module too: rename one of them"
            importlib.import_module(f"{package}.{name}")
        assert not isinstance(getattr(module, name), ModuleType)


def test_no_module_has_a_name_that_says_nothing() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "core"}
    assert len(MODULES) > 100
    assert [name for name in MODULES if not vague.isdisjoint(name.split("."))] == []
