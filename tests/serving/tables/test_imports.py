"""The tables know nothing of who uses them."""

import ast
from pathlib import Path

import pytest

import serving.tables

FOLDER = Path(serving.tables.__file__).parent
MODULES = sorted(path.stem for path in FOLDER.glob("*.py"))


def imports(tree: ast.AST) -> set[str]:
    """What a module of serving.tables imports of serving, also in functions."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = {0: "", 1: "serving.tables.", 2: "serving."}[node.level]
            found.add(above + (node.module or node.names[0].name))
    return {name for name in found if name.partition(".")[0] == "serving"}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_of_the_tables_imports_no_other_room_of_serving(module: str) -> None:
    found = imports(ast.parse((FOLDER / f"{module}.py").read_text()))
    assert {name for name in found if not name.startswith("serving.tables")} <= {"serving.errors"}


def test_an_import_of_another_room_is_seen() -> None:
    code = "def f():\n    from ..batch.job import Job\n    import serving.cli\n"
    assert imports(ast.parse(code)) == {"serving.batch.job", "serving.cli"}
