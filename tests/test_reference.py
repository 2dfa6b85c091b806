"""The site has each guide in its contents, and each public name on one page of its reference."""

import re
from pathlib import Path

import tfkmeans

DOCS = Path(__file__).resolve().parent.parent / "docs"


def test_each_public_name_is_on_one_page() -> None:
    pages = "".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    assert sorted(re.findall(r"^\.\. auto\w+:: tfkmeans\.(\w+)$", pages, re.M)) == dir(tfkmeans)


def test_each_guide_is_in_the_contents_of_the_site() -> None:
    listed = re.findall(r"^(docs/.+)$", (DOCS / "conf.py").read_text(), re.M)
    pages = [*DOCS.glob("*.md"), *DOCS.glob("api/*.md")]
    there = {f"{page.relative_to(DOCS.parent).with_suffix('')}" for page in pages}
    assert sorted(listed) == sorted(there)
