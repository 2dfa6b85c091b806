"""Run examples/penguins.ipynb and store the outputs of its cells: tables and a picture."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "examples" / "penguins.ipynb"


def run_notebook(folder: Path) -> Any:
    """Run the notebook in ``folder``/examples and return it; its model is in ``folder``/models."""
    shutil.copytree(NOTEBOOK.parent, folder / "examples")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    place = {"metadata": {"path": str(folder / "examples")}}
    # The time of a cell is not part of its output.
    client = NotebookClient(notebook, timeout=240, resources=place, record_timing=False)
    client.execute()
    return notebook


def main() -> None:
    before = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        after = run_notebook(Path(folder))
    after.metadata = before.metadata  # the interpreter does not matter to the reader
    nbformat.write(after, NOTEBOOK)


if __name__ == "__main__":
    main()
