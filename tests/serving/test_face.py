"""``import tfkmeans`` offers the public names of the three packages."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import tfkmeans

import export
import kmeans_module
import serving

SOURCE = Path(serving.__file__).parent / "face"
PACKAGES = (kmeans_module, export, serving)


def _run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(code)
    command = [sys.executable, "script.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_each_public_name_of_the_three_packages_is_there_and_is_the_same_object() -> None:
    public = {name: package for package in PACKAGES for name in package.__all__}
    assert dir(tfkmeans) == sorted(public)
    for name, package in public.items():
        assert getattr(tfkmeans, name) is getattr(package, name)


def test_a_name_that_two_packages_have_is_one_thing_in_both() -> None:
    names = [name for package in PACKAGES for name in package.__all__]
    for name in {name for name in names if names.count(name) > 1}:
        assert len({id(getattr(each, name)) for each in PACKAGES if name in each.__all__}) == 1


def test_the_stub_lists_each_name_once() -> None:
    body = ast.parse((SOURCE / "__init__.pyi").read_text()).body
    listed = [alias.asname for node in body for alias in node.names]  # type: ignore[attr-defined]
    assert sorted(listed) == dir(tfkmeans)


def test_the_installed_package_is_a_copy_of_its_source() -> None:
    installed = Path(tfkmeans.__file__).parent
    assert installed != SOURCE
    for file in SOURCE.glob("*.py*"):
        assert (installed / file.name).read_bytes() == file.read_bytes(), "run make setup"
    assert (installed / "py.typed").exists()


def test_a_client_is_there_without_tensorflow(tmp_path: Path) -> None:
    code = "import sys, json, tfkmeans; tfkmeans.GrpcClient; print(json.dumps(list(sys.modules)))"
    process = _run(code, tmp_path)
    heavy = {"tensorflow", "pyarrow", "scipy", "sklearn", "pandas"}
    assert heavy.isdisjoint(json.loads(process.stdout))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'tfkmeans' has no attribute 'kmeans'"):
        _ = tfkmeans.kmeans  # type: ignore[attr-defined]


@pytest.mark.parametrize("other", ["export.py", "serving/__init__.py", "kmeans_module.py"])
def test_another_package_of_the_same_name_is_named(tmp_path: Path, other: str) -> None:
    place = tmp_path / other
    place.parent.mkdir(exist_ok=True)
    place.touch()
    process = _run("import tfkmeans", tmp_path)
    assert process.returncode == 1
    line = process.stderr.strip().splitlines()[-1]
    name = other.partition("/")[0].removesuffix(".py")
    assert line.startswith("ImportError: tfkmeans needs its own package")
    assert f"{name!r}, and Python finds another at {place}: rename that one" in line


def test_a_folder_of_the_same_name_without_code_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    assert _run("import tfkmeans; print(tfkmeans.publish)", tmp_path).returncode == 0
