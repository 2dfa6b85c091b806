"""The bytes of a CSV file without its comments, wherever its blocks end."""

import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from serving.tables import csv_source
from serving.tables.csv_source import open_source

_pieces = st.lists(
    st.sampled_from(
        ["#", '"', '""', ",", "\n", "\r\n", "\r", " ", "x", '6" pipe', '"a#b"', "# it's"]
    ),
    max_size=30,
).map("".join)


def without_comments(text: str) -> str:
    """What is left, character by character."""
    left, in_quotes, in_comment, before = "", False, False, "\n"
    last_closed = False
    for character in text:
        if in_comment and character not in "\r\n":
            continue
        in_comment = False
        closes = False
        if character == '"':
            closes = in_quotes
            in_quotes = not in_quotes and (before in ",\r\n" or last_closed)
        elif character == "#" and not in_quotes:
            in_comment = True
            line = max(left.rfind("\n"), left.rfind("\r")) + 1
            if not left[line:].strip(" \t"):
                left = left[:line]
            continue
        last_closed = closes
        left += character
        before = character
    return left


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=_pieces, size=st.integers(1, 20), compressed=st.booleans())
@example(text='a\n"x # y\n# z"# w\n', size=3, compressed=False)
def test_a_comment_goes_to_the_end_of_its_line_and_is_none_in_quotes(
    tmp_path: Path, text: str, size: int, compressed: bool
) -> None:
    path = tmp_path / ("rows.csv.gz" if compressed else "rows.csv")
    path.write_bytes(gzip.compress(text.encode()) if compressed else text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_source, "_READ_BYTES", size)
        with open_source(path, "#", ",") as file:
            found = file.read()
        with open_source(path, "#", ",") as file:
            pieces = [*iter(lambda: file.read(size), b"")]
    assert found.decode() == without_comments(text)
    assert b"".join(pieces) == found
    with open_source(path, None, ",") as file:
        assert file.read() == text.encode()


def test_a_quote_that_is_never_closed_does_not_hold_the_rest_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_source, "_READ_BYTES", 16)
    monkeypatch.setattr(csv_source, "_LONGEST", 64)
    path = tmp_path / "rows.csv"
    path.write_bytes(b'a\n"open\n' + b"1,2\n" * 100)
    with open_source(path, "#", ",") as file:
        assert file.read() == path.read_bytes()
