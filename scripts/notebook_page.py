"""Convert a notebook to a page of Markdown, for examples/penguins.ipynb on the site."""

import json
import re
from typing import Any, Final

# The site has its own style of tables.
_FORM_OF_A_FRAME: Final = re.compile(r"<style.*?</style>\s*", re.DOTALL)
_TABLE: Final = re.compile(r"<table[^>]*>")


def notebook_page(notebook: str) -> str:
    """Return the cells of a notebook and their stored outputs, in order, as Markdown for MyST."""
    return "\n\n".join(_shown(cell) for cell in json.loads(notebook)["cells"]) + "\n"


def _shown(cell: dict[str, Any]) -> str:
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return text
    outputs = [_output(output["data"]) for output in cell["outputs"]]
    return "\n\n".join([f"```python\n{text}\n```", *outputs])


def _output(data: dict[str, Any]) -> str:
    """Return the richest form of an output, as Jupyter chooses it."""
    if "image/png" in data:
        picture = "".join(data["image/png"]).replace("\n", "")
        html = f'<img alt="The figure that this cell draws" src="data:image/png;base64,{picture}">'
    elif "text/html" in data:
        html = _TABLE.sub('<table class="docutils">', "".join(data["text/html"]))
        html = f'<div class="table-wrapper">\n{_FORM_OF_A_FRAME.sub("", html)}\n</div>'
    else:
        return f"```text\n{''.join(data['text/plain'])}\n```"
    return f"```{{raw}} html\n{html}\n```"
