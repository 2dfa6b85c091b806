"""The site has each guide in its contents, and each public name on one page of its reference."""

import html
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tfkmeans

from scripts.notebook_page import notebook_page

DOCS = Path(__file__).resolve().parent.parent / "docs"


def test_each_public_name_is_on_one_page() -> None:
    pages = "".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    assert sorted(re.findall(r"^\.\. auto\w+:: tfkmeans\.(\w+)$", pages, re.M)) == dir(tfkmeans)


def test_each_guide_is_in_the_contents_of_the_site() -> None:
    listed = re.findall(r"^((?:docs|examples)/.+)$", (DOCS / "conf.py").read_text(), re.M)
    examples = DOCS.parent / "examples"
    pages = [*DOCS.glob("*.md"), *DOCS.glob("api/*.md"), *examples.glob("*.[mi]*")]
    there = {f"{page.relative_to(DOCS.parent).with_suffix('')}" for page in pages}
    assert sorted(listed) == sorted(there)


def test_the_page_of_the_notebook_has_each_cell_and_what_it_gives() -> None:
    page = notebook_page((DOCS.parent / "examples/penguins.ipynb").read_text())
    assert page.startswith("# From a data frame to a served model\n")
    assert page.count("```python\n") == 7
    assert page.count('<table class="docutils">') == 5
    assert page.count('src="data:image/png;base64,') == 1
    assert "<style" not in page


def _docstrings() -> Iterator[tuple[str, str]]:
    for name in dir(tfkmeans):
        value = getattr(tfkmeans, name)
        yield name, inspect.getdoc(value) or ""
        if inspect.isclass(value):
            for member in vars(value).values():
                yield f"{name}.{getattr(member, '__name__', '')}", inspect.getdoc(member) or ""


def test_no_description_is_read_as_a_list_and_none_of_a_result_as_its_type() -> None:
    # "k." begins a list, as "1." does; what is before a colon, napoleon takes for a type.
    lists = re.compile(r"^ +\w+: \w\.$", re.M)
    types = re.compile(r"^(Returns|Yields):\n +[^`\n]*:( |$)", re.M)
    docstrings = dict(_docstrings())
    assert len(docstrings) > 200
    assert [name for name, text in docstrings.items() if lists.search(text)] == []
    assert [name for name, text in docstrings.items() if types.search(text)] == []


@pytest.mark.slow
def test_the_attributes_of_a_fit_have_their_underscores_and_descriptions(tmp_path: Path) -> None:
    page = "```{eval-rst}\n.. autoclass:: tfkmeans.KMeans\n   :no-members:\n```\n"
    (tmp_path / "README.md").write_text(page)
    command = [sys.executable, "-m", "sphinx", "--quiet", "-c", str(DOCS)]
    subprocess.run(
        [*command, str(tmp_path), str(tmp_path / "site")], check=True, capture_output=True
    )
    built = (tmp_path / "site" / "README.html").read_text()
    described = re.findall(r"<strong>(\w+)</strong> \S (.*?)</p>", html.unescape(built), re.S)
    shown = {name for name, text in described if not text.startswith("<ol")}
    there = set(tfkmeans.KMeans.__annotations__) | set(tfkmeans.KMeans().get_params())
    assert shown == there
