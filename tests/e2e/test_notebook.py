"""The notebook of examples/ runs from its first cell to its last, and is quiet."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from export import versions
from scripts.draw_notebook import NOTEBOOK, run_notebook

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """The notebook after it ran, and the folder above the one where it ran."""
    folder = tmp_path_factory.mktemp("notebook")
    return run_notebook(folder), folder


def _outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def _texts(notebook: Any) -> list[str]:
    """What the outputs say, without the day, which the card names."""
    texts = [output["data"].get("text/plain", "") for output in _outputs(notebook)]
    return [re.sub(r"created='[^']*'", "created", text) for text in texts]


def test_the_outputs_that_the_file_shows_are_those_that_its_cells_give(
    executed: tuple[Any, Path],
) -> None:
    stored = _texts(nbformat.read(NOTEBOOK, as_version=4))
    assert len(stored) == 8
    assert stored == _texts(executed[0]), "make pictures stores them"


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
