"""``import tfkmeans`` offers the public names of the three packages: from a wheel, and editable."""

import ast
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import tfkmeans

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "serving" / "face"

COMPARING = """
import importlib.metadata, json
import export, kmeans_module, serving, tfkmeans
packages = (kmeans_module, export, serving)
names = [name for package in packages for name in package.__all__]
public = {name: package for package in packages for name in package.__all__}
print(json.dumps({
    "place": tfkmeans.__file__,
    "version": importlib.metadata.version("tfkmeans"),
    "listed": dir(tfkmeans),
    "public": sorted(public),
    "others": [n for n in public if getattr(tfkmeans, n) is not getattr(public[n], n)],
    "twice": [n for n in {n for n in names if names.count(n) > 1}
              if len({id(getattr(p, n)) for p in packages if n in p.__all__}) > 1],
}))
"""


@pytest.fixture(scope="module", params=["editable", "wheel"])
def environment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The environment of a Python that has the editable install, or the wheel before it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    if request.param == "editable":
        return kept
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    place = folder / "installed"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run(
        [*install, "--target", str(place), str(wheel)], check=True, capture_output=True, timeout=120
    )
    return kept | {"PYTHONPATH": str(place)}


def _run(code: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(code)
    command = [sys.executable, "script.py"]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_it_has_each_public_name_of_the_three_packages_as_the_same_object(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    process = _run(COMPARING, tmp_path, environment)
    assert process.returncode == 0, process.stderr
    said = json.loads(process.stdout)
    place = Path(said["place"])
    assert place.is_relative_to(environment.get("PYTHONPATH", sys.prefix))
    assert said["version"] == version("tfkmeans")
    assert said["listed"] == said["public"]
    assert (said["others"], said["twice"]) == ([], [])
    for file in SOURCE.glob("*.py*"):
        assert (place.parent / file.name).read_bytes() == file.read_bytes(), "run make setup"
    assert (place.parent / "py.typed").exists()


def test_a_client_is_there_without_tensorflow(tmp_path: Path, environment: dict[str, str]) -> None:
    code = "import sys, json, tfkmeans; tfkmeans.GrpcClient; print(json.dumps(list(sys.modules)))"
    process = _run(code, tmp_path, environment)
    heavy = {"tensorflow", "pyarrow", "scipy", "sklearn", "pandas"}
    assert heavy.isdisjoint(json.loads(process.stdout))


@pytest.mark.parametrize("other", ["export.py", "serving/__init__.py", "kmeans_module.py"])
def test_another_package_of_the_same_name_is_named(
    tmp_path: Path, environment: dict[str, str], other: str
) -> None:
    place = tmp_path / other
    place.parent.mkdir(exist_ok=True)
    place.touch()
    process = _run("import tfkmeans", tmp_path, environment)
    assert process.returncode == 1
    line = process.stderr.strip().splitlines()[-1]
    name = other.partition("/")[0].removesuffix(".py")
    assert line.startswith("ImportError: tfkmeans needs its own package")
    assert f"{name!r}, and Python finds another at {place}: rename that one" in line


def test_a_folder_of_the_same_name_without_code_does_not_matter(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "export").mkdir()
    code = "import tfkmeans; print(tfkmeans.publish)"
    assert _run(code, tmp_path, environment).returncode == 0


def test_the_stub_lists_each_name_once() -> None:
    body = ast.parse((SOURCE / "__init__.pyi").read_text()).body
    listed = [
        alias.asname for node in body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    assert sorted(map(str, listed)) == dir(tfkmeans)


def test_it_tells_its_version(tmp_path: Path, environment: dict[str, str]) -> None:
    process = _run("import tfkmeans; print(tfkmeans.__version__)", tmp_path, environment)
    assert process.stdout == f"{version('tfkmeans')}\n"


@pytest.mark.parametrize(
    ("name", "absent", "extra"),
    [
        ("KMeans", "tensorflow", "train"),
        ("EmbeddedServer", "tensorflow", "serve"),
        ("EmbeddedServer", "uvicorn", "serve"),
    ],
)
def test_a_name_that_needs_an_extra_says_how_to_install_it(
    tmp_path: Path, environment: dict[str, str], name: str, absent: str, extra: str
) -> None:
    # Python takes a module that is None for one that is not there.
    code = (
        f"import sys; sys.modules[{absent!r}] = None\nfrom tfkmeans import {name}\n{name}.__doc__"
    )
    process = _run(code, tmp_path, environment)
    assert process.stderr.splitlines()[-1] == (
        f"ModuleNotFoundError: tfkmeans.{name} needs {absent}, which is not installed: "
        f"pip install 'tfkmeans[{extra}]'"
    )


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'tfkmeans' has no attribute 'kmeans'"):
        _ = tfkmeans.kmeans  # type: ignore[attr-defined]
