"""Sphinx: the site of README, the guides, and the public names. ``make docs`` builds it."""

import tomllib
from pathlib import Path
from typing import Any, Final

# Before the pages that need TensorFlow, so that it says nothing.
import kmeans_module.quiet_tensorflow  # noqa: F401
from scripts.notebook_page import notebook_page

_ROOT: Final = Path(__file__).resolve().parents[1]
_PROJECT: Final[dict[str, Any]] = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]

project = "tfkmeans"
release = version = _PROJECT["version"]
author = project_copyright = "The tfkmeans maintainers"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]

# The pages lie where GitHub shows them; their links to each other hold in both places.
root_doc = "README"
include_patterns = [
    "*.md",
    "benchmarks/results/*.md",
    "docker/README.md",
    "docs/*.md",
    "docs/api/*.md",
    "examples/README.md",
    "examples/*.ipynb",
]
source_suffix = {".md": "markdown", ".ipynb": "markdown"}
exclude_patterns = [".*", "build", "models", "site"]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

# In a docstring, `fit` is a name and ``fit(points)`` is code.
default_role = "py:obj"
autodoc_default_options = {"members": True, "member-order": "bysource"}
autoclass_content = "both"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
toc_object_entries_show_parents = "hide"
napoleon_attr_annotations = False
napoleon_use_ivar = True
# Else napoleon takes the end of ``labels_`` for that of a reference.
strip_signature_backslash = True
napoleon_custom_sections = [("Keys", "params_style")]

# A block without a language is the output of a command, or a tree of files.
highlight_language = "none"

html_theme = "furo"
html_title = f"tfkmeans {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options: dict[str, Any] = {"navigation_with_keys": True}

_TOCTREE: Final = """

```{toctree}
:hidden:
:caption: Guides

examples/penguins
docs/files
docs/features
docs/vectors
docs/columns
docs/choosing-k
docs/out-of-core
docs/distributed
docs/gpu
docs/contract
docs/versions
docs/clients
docs/batch
docs/embedded-server
docs/migrating
docs/performance
docs/performance-notes
```

```{toctree}
:hidden:
:caption: Reference

docs/api/fit
docs/api/measures
docs/api/publish
docs/api/clients
docs/api/errors
docs/api/contract
docs/commands
```

```{toctree}
:hidden:
:caption: Operation

docker/README
docs/release
docs/runbook
docs/support
docs/limitations
examples/README
CHANGELOG
CONTRIBUTING
SECURITY
```

```{toctree}
:hidden:
:glob:
:caption: Measured

benchmarks/results/*
```
"""


def _prepare_page(app: Any, page: str, source: list[str]) -> None:
    """README is the first page; the contents of the site are no part of it on GitHub."""
    if page == root_doc:
        source[0] += _TOCTREE
    if app.env.doc2path(page).suffix == ".ipynb":
        source[0] = notebook_page(source[0])


def setup(app: Any) -> None:
    """What Sphinx calls."""
    app.connect("source-read", _prepare_page)
