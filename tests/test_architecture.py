"""The house stays as it was planned: arrows one way, TensorFlow only where it is needed."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("kmeans_module", "export", "serving")

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
)


def test_imports_go_one_way() -> None:
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


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_resolves_and_none_is_hidden_by_a_module(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__all__
    assert len(set(module.__all__)) == len(module.__all__)
    files = {path.stem for path in (ROOT / package).iterdir() if path.suffix == ".py"}
    for name in module.__all__:
        assert name not in files
        assert getattr(module, name).__name__ if name != "SIGNATURES" else module.SIGNATURES
