"""Quotes that fit are let pass, whatever the blocks; a missing one is doubted."""

import csv
import io

import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from serving.tables.csv_quotes import QuoteWatcher


def _written(rows: list[list[str]], style: int, end: str) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=style, lineterminator=end)  # type: ignore[arg-type]
    writer.writerow(["a", "b"])
    writer.writerows(rows)
    return text.getvalue().encode()


_cells = st.text(st.sampled_from('a ,"\n\rü'), max_size=4)
_texts = st.builds(
    _written,
    st.lists(st.lists(_cells, min_size=2, max_size=2), max_size=6),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.sampled_from(["\n", "\r\n"]),
)


def _doubts(text: bytes, size: int) -> int:
    """How often a file is doubted that is read in blocks of this size, which is read whole."""
    found = 0

    def on_doubt() -> None:
        nonlocal found
        found += 1

    file = QuoteWatcher(pa.BufferReader(text), on_doubt)
    blocks = [*iter(lambda: file.read(size), b"")]
    assert b"".join(blocks) == text
    return found


@example(text=b'"a","b"\n', mark=True, size=1)
@given(text=_texts, mark=st.booleans(), size=st.integers(1, 40))
def test_what_the_csv_module_writes_is_never_doubted(text: bytes, mark: bool, size: int) -> None:
    assert _doubts(b"\xef\xbb\xbf" * mark + text, max(size, 3) if mark else size) == 0


@given(text=_texts.filter(lambda text: b'"' in text), size=st.integers(1, 40), data=st.data())
def test_a_file_that_lacks_one_of_its_quotes_is_doubted_once(
    text: bytes, size: int, data: st.DataObject
) -> None:
    quotes = [place for place, byte in enumerate(text) if byte == ord('"')]
    place = data.draw(st.sampled_from(quotes))
    assert _doubts(text[:place] + text[place + 1 :], size) == 1


def test_a_file_that_is_closed_is_at_its_end() -> None:
    file = QuoteWatcher(pa.BufferReader(b'a\n"'), lambda: None)
    file.close()
    assert file.closed
    assert file.read(10) == b""
