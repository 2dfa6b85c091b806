"""The notebook of examples/ runs from its first cell to its last, and is quiet."""

import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from export import versions
from scripts.documented_commands import ROOT

pytestmark = pytest.mark.slow

NOTEBOOK = ROOT / "examples" / "penguins.ipynb"


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """The notebook after it ran, and the folder above the one where it ran."""
    folder = tmp_path_factory.mktemp("notebook")
    shutil.copytree(NOTEBOOK.parent, folder / "examples")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    place = {"metadata": {"path": str(folder / "examples")}}
    NotebookClient(notebook, timeout=240, resources=place).execute()
    return notebook, folder


def _outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_the_file_has_no_outputs() -> None:
    assert _outputs(nbformat.read(NOTEBOOK, as_version=4)) == []


def test_it_goes_from_a_frame_to_a_served_model_and_a_picture(executed: tuple[Any, Path]) -> None:
    notebook, folder = executed
    assert versions(folder / "models" / "notebook") == (1,)
    data = [output["data"] for output in _outputs(notebook) if "data" in output]
    assert {"text/plain": "np.True_"} in data
    assert any("image/png" in each for each in data)


def test_nothing_is_printed_that_the_cells_did_not_ask_for(executed: tuple[Any, Path]) -> None:
    notebook, _ = executed
    said = [output for output in _outputs(notebook) if output["output_type"] == "stream"]
    assert said == []


def test_the_bar_and_the_results_are_shown_as_html(executed: tuple[Any, Path]) -> None:
    notebook, _ = executed
    shown = [
        output["data"].get("text/html", "") for output in _outputs(notebook) if "data" in output
    ]
    assert sum("<caption>" in each for each in shown) == 3
    (bar,) = [each for each in shown if "<progress" in each]
    assert "100%" in bar
    assert "iteration" in bar
