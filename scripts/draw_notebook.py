"""Run examples/penguins.ipynb and store in it what its cells give: tables and a picture."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "examples" / "penguins.ipynb"


def run_notebook(folder: Path) -> Any:
    """The notebook after it ran in ``folder``/examples; its model is in ``folder``/models."""
    shutil.copytree(NOTEBOOK.parent, folder / "examples")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    place = {"metadata": {"path": str(folder / "examples")}}
    # When a cell ran is no part of what it gives.
    client = NotebookClient(notebook, timeout=240, resources=place, record_timing=False)
    client.execute()
    return notebook


def main() -> None:
    before = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        after = run_notebook(Path(folder))
    after.metadata = before.metadata  # the interpreter that ran it is none of the reader's matter
    nbformat.write(after, NOTEBOOK)


if __name__ == "__main__":
    main()
