"""docs/support.md: every variable that is read has a line there, and no page leads nowhere."""

import re
import tomllib
from pathlib import Path

import pytest

from scripts.documented_commands import ROOT

PAGE = (ROOT / "docs" / "support.md").read_text()
PAGES = sorted([ROOT / "README.md", ROOT / "docker" / "README.md", *ROOT.glob("docs/*.md")])

#: How a program reads a variable of the environment: in Python, in Make, in a shell or in Compose.
READS = (
    r"environ(?:\.get\(|\[)\"(\w+)\"",
    r"LOG_LEVEL: Final = \"(\w+)\"",
    r"\$\{([A-Z][A-Z_]+):-",
    r"^([A-Z]+) \?=",
    r"\$\(([A-Z]+_NAME)\)",
)


def files() -> list[Path]:
    folders = ("kmeans_module", "export", "serving", "docker")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    readable = [path for path in found if path.suffix in (".py", ".yaml", ".sh")]
    return [*readable, ROOT / "Makefile", ROOT / "tests" / "debian_programs.py"]


def test_every_variable_that_is_read_is_in_a_table() -> None:
    read = {
        name
        for path in files()
        for pattern in READS
        for name in re.findall(pattern, path.read_text(), re.MULTILINE)
    }
    assert {"TF_CPP_MIN_LOG_LEVEL", "CI", "PYTHON", "TFS_TAG", "DOCKER", "MODEL_NAME"} <= read
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert read <= listed


@pytest.mark.parametrize("name", ["tensorflow", "tensorflow-serving-api"])
def test_the_table_has_the_bounds_that_pip_is_told(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (bounds,) = {
        each
        for extra in project["optional-dependencies"].values()
        for each in extra
        if each.startswith(f"{name}>")
    }
    assert bounds == f"{name}>=2.19,<2.22"
    assert re.search(r"^\| TensorFlow \| 2\.19 to 2\.21 \|", PAGE, re.MULTILINE)
    versions = (ROOT / "scripts" / "test_tensorflow_versions.sh").read_text()
    assert "set -- 2.19 2.21\n" in versions


def test_the_defaults_of_compose_are_those_of_the_table() -> None:
    text = (ROOT / "docker" / "compose.yaml").read_text()
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", text))
    del defaults["PWD"]
    assert len(defaults) > 15
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    for name, default in defaults.items():
        assert any(f"`{name}`" in row and default in row for row in rows), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        found = page if not file else page.parent / file
        assert found.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", found.read_text(), re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings]
            assert anchor in anchors, target
