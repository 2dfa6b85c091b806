"""The CSV reader: exact values, missing values, and bad cells named by row, line and column."""

import csv
import gzip
import io
import re
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
import pandas
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.tables import csv_table
from serving.tables.columns import MISSING_TEXTS
from serving.tables.csv_table import CsvTable
from serving.tables.errors import BadCell, ColumnMismatch, TableError, UnreadableFile
from serving.tables.feature_selection import select_features
from serving.tables.input_files import open_table
from serving.tables.reading_options import ReadingOptions
from serving.tables.table import Chunk, concat_chunks

from .row_files import read_all, write_csv

_numbers = st.one_of(
    st.none(),
    st.floats(allow_nan=False),
    st.integers(-(2**53), 2**53),
)
# Surrogates have no UTF-8, and the writer does not quote a lone carriage return.
_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=12)


def written(path: Path, content: bytes) -> CsvTable:
    path.write_bytes(content)
    return CsvTable(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(st.tuples(_numbers, _texts, _numbers), max_size=30),
    missing=st.sampled_from([*MISSING_TEXTS, " NA", "?\t", "  "]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    mark=st.booleans(),
)
def test_what_the_csv_module_writes_is_read_back_bit_for_bit(
    tmp_path: Path,
    rows: list[tuple[float | None, str, float | None]],
    missing: str,
    line_end: str,
    mark: bool,
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=line_end)
    writer.writerow(["a", 'text, with "quotes"\nand lines', "b"])
    for a, label, b in rows:
        cells = [missing if a is None else repr(a), label, missing if b is None else repr(b)]
        writer.writerow(cells)
    path = tmp_path / "rows.csv"
    path.write_text(text.getvalue(), encoding="utf-8-sig" if mark else "utf-8", newline="")
    expected = [[np.nan if value is None else float(value) for value in (b, a)] for a, _, b in rows]

    found = read_all(CsvTable(path), ["b", "a"])

    np.testing.assert_array_equal(found, np.array(expected).reshape(-1, 2))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    good=st.integers(0, 12),
    label=_texts,
    bad=st.sampled_from(["x", "1,5", "12 apples", "1e", "NA NA", "--", "٣", "1_0", "2020-01-01"]),
    blank=st.booleans(),
)
def test_a_cell_that_is_no_number_is_named_with_its_row_line_column_and_value(
    tmp_path: Path, good: int, label: str, bad: str, blank: bool
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["label", "a", "b"])
    for _ in range(good):
        writer.writerow([label, 1.5, "NA"])
        text.write("\n" if blank else "")
    writer.writerow(["", 1, bad])
    writer.writerow(["", "another", ""])
    path = tmp_path / "rows.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    # The lines up to the bad row, as an editor counts them.
    before = text.getvalue().split("\n,1,", maxsplit=1)[0]
    line = 2 + len(re.findall("\r\n|\r|\n", before))

    with pytest.raises(BadCell) as caught:
        read_all(CsvTable(path), ["a", "b"])

    assert f"{path}: row {good + 1} (line {line}), column 'b': {bad!r}" in str(caught.value)


def test_rows_are_counted_across_the_blocks_of_a_long_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_table, "_BLOCK_BYTES", 64)
    rows: list[list[object]] = [[index, index / 7] for index in range(10_000)]
    table = CsvTable(write_csv(tmp_path / "rows.csv", ["a", "b"], rows))

    blocks = list(table.blocks(["a", "b"]))

    assert len(blocks) > 100
    np.testing.assert_array_equal(np.concatenate(blocks), np.array(rows, float))
    rows[9_000][1] = "oops"
    write_csv(tmp_path / "rows.csv", ["a", "b"], rows)
    with pytest.raises(BadCell, match=r"row 9001 \(line 9002\), column 'b': 'oops'"):
        read_all(table, ["a", "b"])


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("", np.nan),
        ("NA", np.nan),
        ("NaN", np.nan),
        ("nan", np.nan),
        ('""', np.nan),
        (" 2.5", 2.5),
        ('"2.5"', 2.5),
        ("+1E3", 1000.0),
        (".5", 0.5),
        ("inf", np.inf),
        ("-Infinity", -np.inf),
    ],
)
def test_a_cell_is_read_as(tmp_path: Path, cell: str, value: float) -> None:
    table = written(tmp_path / "rows.csv", f"a,b\n1,{cell}\n".encode())
    np.testing.assert_array_equal(read_all(table, ["b"]), [[value]])


COLUMNS: Final = {
    "number": ["1", "2", *["3"] * 18],
    "late": [*["NA"] * 19, "7"],
    "typing_error": ["o0ps", "1x", *["4"] * 18],
    "text": ["red", "3", *["4"] * 16, "blue", "-inf?"],
    "boolean": ["true", "FALSE", *["True"] * 17, ""],
    "mixed": ["true", "1", *["false"] * 18],
    "halves": ["true", "1", *["false", "0"] * 9],
    "boolean_error": ["maybe", "2", *["false", "1"] * 9],
    "boolean_text": ["maybe", "2", "no", *["false"] * 17],
    "nothing": ["", "NaN", *["NA"] * 18],
    "": ["1"] * 20,
}


@pytest.mark.parametrize(
    "order", [range(20), range(19, -1, -1), np.random.default_rng(1).permutation(20)]
)
def test_a_column_is_what_its_values_are_in_any_order_of_rows(
    tmp_path: Path, order: Iterable[int]
) -> None:
    rows = [[cells[index] for cells in COLUMNS.values()] for index in order]
    kinds = CsvTable(write_csv(tmp_path / "rows.csv", list(COLUMNS), rows)).kinds()

    assert {name: kind.is_numeric for name, kind in kinds.items()} == {
        "number": True,
        "late": True,
        "typing_error": True,
        "text": False,
        "boolean": True,
        "mixed": True,
        "halves": True,
        "boolean_error": True,
        "boolean_text": False,
        "nothing": None,
        "": False,
    }
    assert kinds["text"].holds in ("text ('red')", "text ('blue')", "text ('-inf?')")
    for name in ("boolean", "mixed", "halves", "boolean_error"):
        assert kinds[name].holds == "booleans"
    assert kinds["nothing"].holds == "no values"


def test_booleans_are_one_and_zero_in_a_column_of_booleans_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A block that ends before the row that contradicts.
    monkeypatch.setattr(csv_table, "_BLOCK_BYTES", 24)
    rows = [["True", "1"], ["false", "0"], ["", "NA"], ["TRUE", "2"]]
    ones = [["1", "7"], [" 0", "8"]]
    table = CsvTable(write_csv(tmp_path / "rows.csv", ["a", "b"], rows + ones))
    np.testing.assert_array_equal(
        read_all(table, ["a", "b"]), [[1, 1], [0, 0], [np.nan] * 2, [1, 2], [1, 7], [0, 8]]
    )
    for mixed_rows, words in (
        ([*rows, ["yes", "3"]], "column 'a': 'yes' is not true or false"),
        ([*rows, ["2", "3"]], "column 'a': '2' is not true or false"),
        ([*rows, ["true", "false"]], "column 'b': 'false' is not a number"),
    ):
        mixed = CsvTable(write_csv(tmp_path / "rows.csv", ["a", "b"], mixed_rows))
        with pytest.raises(BadCell, match=rf"row 5 \(line 6\), {words}"):
            read_all(mixed, ["a", "b"])


def test_columns_come_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    table = CsvTable(write_csv(tmp_path / "rows.csv", ["a", "b", "c"], [[1, 2, 3]]))
    np.testing.assert_array_equal(read_all(table, ["c", "a"]), [[3, 1]])


@pytest.mark.parametrize("content", [b"a,b", b"a,b\n", b"a,b\n\n\n", b"\xef\xbb\xbfa,b\r\n"])
def test_a_header_alone_is_a_table_without_rows(tmp_path: Path, content: bytes) -> None:
    table = written(tmp_path / "rows.csv", content)
    assert table.columns == ("a", "b")
    assert read_all(table, ["a", "b"]).shape == (0, 2)
    assert {kind.is_numeric for kind in table.kinds().values()} == {None}


NOT_UTF8: Final = r"b'\xff', which is not UTF-8; save the file as CSV in UTF-8"


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (b"\n\n", UnreadableFile, ["rows.csv", "is empty"]),
        (
            "größe\n1\n".encode("latin-1"),
            UnreadableFile,
            ["rows.csv: the header holds b'gr\\xf6\\xdfe', which is not UTF-8; save the file"],
        ),
        ("a,b\n1,2\n".encode("utf-16"), UnreadableFile, ["not UTF-8"]),
        (
            b"a,b\n1,2,\xe9\n",
            UnreadableFile,
            [r"row 1 has 3 cells ('1', '2', b'\xe9', which is not"],
        ),
        (b"a;b\n1;2\n", UnreadableFile, ["one column, 'a;b'", "';' separates", "--delimiter ';'"]),
        (b"a\tb\n1\t2\n", UnreadableFile, ["separates its columns", "--delimiter tab"]),
        (b"a,b,a\n1,2,3\n", ColumnMismatch, ["columns 1 and 3", "'a'", "rename"]),
        (
            b"a,b\n1,2\n3\n",
            BadCell,
            ["row 2 (line 3)", "has 1 cell, ", "header has 2; write a cell"],
        ),
        (b"a,b\n1,1e999\n", BadCell, ["row 1 (line 2), column 'b': '1e999' exceeds float64"]),
        (
            b"a,b\n1,2\n3,-1e400\n",
            BadCell,
            ["row 2 (line 3), column 'b': '-1e400' exceeds float64"],
        ),
        (b"a,b\n1,2\n\n3,4,5\n", BadCell, ["row 2 (line 4)", "has 3 cells", "quote"]),
        (b"a,b\n1,2\n\xff,4\n", BadCell, ["row 2 (line 3)", "'a'", NOT_UTF8]),
        (b'"a,b\n1,2\n', UnreadableFile, ["the header is not CSV", "is a quote not closed?"]),
        (b'a,b\n1,2\n3,"4\n5,6\n', UnreadableFile, ["row 2 (after line 2)", "quote not closed"]),
        (b'a,b\n1,2\n3,"' + b"4\n" * 3_000_000, UnreadableFile, ["row 2 (after line 2)", "quote"]),
    ],
    ids=lambda value: repr(value)[:30] if isinstance(value, bytes) else "",
)
def test_a_file_that_cannot_be_read_says_where_and_why(
    tmp_path: Path, content: bytes, kind: type[TableError], words: list[str]
) -> None:
    with pytest.raises(kind) as caught:
        read_all(written(tmp_path / "rows.csv", content), ["a", "b"])
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def kept_names(table: CsvTable) -> list[object]:
    kept = [chunk.kept for chunk in table.chunks(["a"], ["name"])]
    return [name for batch in kept if batch is not None for name in batch["name"].to_pylist()]


QUOTED: Final = ["ann", 'with "quotes"', "two\nlines", "", 'a line\n,"', '6" pipe', "größe"]


@pytest.mark.parametrize("block", [64, 2**20])
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    "unclosed",
    [b'1,"bob\n', b'1,"bob\n2,"cid"\n', b'1,"bob\n2,"cid\n', b'1,"bob\n2,cid\n3,"d,2\n'],
    ids=["to the end", "to the next", "two of them", "closed in another place"],
)
def test_a_quote_that_is_not_closed_costs_no_row_silently(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    unclosed: bytes,
    compressed: bool,
    block: int,
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["a", "name"])
    writer.writerows([[0, name] for name in QUOTED])
    good = text.getvalue()
    path = tmp_path / ("rows.csv.gz" if compressed else "rows.csv")

    def read(content: bytes) -> list[object]:
        path.write_bytes(gzip.compress(content) if compressed else content)
        return kept_names(CsvTable(path))

    monkeypatch.setattr(csv_table, "_BLOCK_BYTES", block)
    assert read(good.encode("utf-8-sig")) == QUOTED
    with pytest.raises(UnreadableFile) as caught:
        read(good.encode() + unclosed + b"4,eve\n" * 3)
    place = f"row {len(QUOTED) + 1} (after line {len(good.splitlines())})"
    assert str(caught.value).startswith(f"{path}: {place}: ")
    assert str(caught.value).endswith("is a quote not closed?")


def test_a_quote_within_a_cell_that_does_not_begin_with_one_is_text(tmp_path: Path) -> None:
    content = b'a,name\n1,6" pipe\n2,5" pipe\n3,\n4,x "y" z\n'
    found = kept_names(written(tmp_path / "rows.csv", content))
    assert found == ['6" pipe', '5" pipe', "", 'x "y" z']


def test_text_that_is_not_utf8_in_a_column_that_is_not_used_does_no_harm(tmp_path: Path) -> None:
    table = written(tmp_path / "rows.csv", "name,a\nJörg,1\n".encode("latin-1"))
    assert table.kinds()["name"].holds == r"text (b'J\xf6rg', which is not UTF-8)"
    np.testing.assert_array_equal(read_all(table, ["a"]), [[1]])


def test_a_number_that_is_too_large_is_a_number_of_its_column(tmp_path: Path) -> None:
    assert written(tmp_path / "rows.csv", b"a\n1e400\n2\n").kinds()["a"].is_numeric


def test_text_that_is_cut_for_a_message_is_cut_between_characters(tmp_path: Path) -> None:
    table = written(tmp_path / "rows.csv", f"name,a\n{'x' * 39}éé,1\n".encode())
    assert table.kinds()["name"].holds == f"text ('{'x' * 39}é')"


def test_a_column_that_is_not_there_is_named_beside_the_nearest(tmp_path: Path) -> None:
    table = CsvTable(write_csv(tmp_path / "rows.csv", ["height", "weight"], [[1, 2]]))
    with pytest.raises(ColumnMismatch, match=r"no column 'hight' .*; did you mean 'height'\?"):
        read_all(table, ["hight"])


_cells = st.sampled_from(["1", "-2.5", " 3e1", "", "NA", "inf", "1e999", "oops", "1,5", "é"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(
        st.tuples(_cells, _cells) | st.tuples(_cells) | st.tuples(_cells, _cells, _cells),
        max_size=40,
    ),
    start=st.integers(0, 45),
    block=st.sampled_from([64, 2**20]),
)
def test_a_bad_cell_of_a_csv_file_is_a_fault_of_its_row_alone(
    tmp_path: Path, rows: list[tuple[str, ...]], start: int, block: int
) -> None:
    # A line with nothing on it is no row. Where most do not fit the header, it is not theirs.
    fitting: list[tuple[str, ...]] = [("1", "2")] * (1 + len(rows))
    rows = fitting + [row for row in rows if row != ("",)]
    path = write_csv(tmp_path / "rows.csv", ["x", "y"], rows)
    before = csv_table._BLOCK_BYTES
    csv_table._BLOCK_BYTES = block  # type: ignore[misc]
    try:
        table = open_table(path)
        chunks = [Chunk(np.empty((0, 2))), *table.chunks(["x", "y"], (), start)]
    finally:
        csv_table._BLOCK_BYTES = before  # type: ignore[misc]
    found = concat_chunks(chunks)
    faults = found.faults
    assert len(found.points) == max(0, len(rows) - start)
    for at, row in enumerate(rows[start:]):
        if len(row) != 2:
            assert faults[at].column == ""
            assert f"has {len(row)} cell" in faults[at].reason
            assert ("quote" if len(row) > 2 else "write a cell") in faults[at].reason
            continue
        bad = [i for i, cell in enumerate(row) if cell in ("oops", "1,5", "é", "1e999")]
        if bad:
            assert faults[at].column == "xy"[bad[0]]
            assert repr(row[bad[0]]) in faults[at].reason
        else:
            assert at not in faults
            values = [np.nan if cell in ("", "NA") else float(cell) for cell in row]
            np.testing.assert_array_equal(found.points[at], values)


def test_a_ragged_row_that_is_not_utf8_is_one_line_and_prints_nothing_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(b"a,b\n1,2\n3,M\xfcller,5\n")
    with pytest.raises(UnreadableFile) as refused:
        deque(CsvTable(file).chunks(["a"]), maxlen=0)
    assert str(refused.value) == (
        f"{file}: row 2 has 3 cells, and the header has 2; quote cells that hold a comma, and save "
        "the file as CSV in UTF-8: the row is not UTF-8"
    )
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
def test_kept_text_has_all_its_bytes_where_a_quoted_line_end_straddles_two_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compressed: bool
) -> None:
    monkeypatch.setattr(csv_table, "_BLOCK_BYTES", 64)
    path = tmp_path / ("rows.csv.gz" if compressed else "rows.csv")
    for before in range(40, 70):
        texts = ["z" * before + "A\r\nB", "plain", "\r\n" * 20, "\r", "\n\r"]
        rows = "".join(f'1,"{text}"\r\n' for text in texts)
        content = f"a,name\r\n{rows}".encode()
        path.write_bytes(gzip.compress(content) if compressed else content)
        assert kept_names(CsvTable(path)) == texts, before


def test_the_columns_of_one_name_do_no_harm_where_they_are_not_used(tmp_path: Path) -> None:
    table = CsvTable(write_csv(tmp_path / "rows.csv", ["a", "b", "b", ""], [[1, "x", 2, 3]]))
    np.testing.assert_array_equal(read_all(table, ["a"]), [[1]])
    assert select_features([table]).names == ("a",)
    for columns, keep in ((["b"], []), (["a"], ["b"])):
        with pytest.raises(ColumnMismatch, match=r"columns 2 and 3 are both named 'b'; rename one"):
            next(table.chunks(columns, keep))


_written = st.one_of(
    st.sampled_from(["", "NA", "null", " ", "n/a", "NaN", "None", "-inf"]),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(10**12), 10**12).map(str),
    st.integers(-(10**12), 10**12).map("{:,}".format),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(st.tuples(_written, _texts, _written), min_size=1, max_size=20),
    marks=st.sampled_from([(",", ".", ","), (";", ",", "."), ("\t", ".", None), ("|", ",", " ")]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    title=st.integers(0, 2),
    has_header=st.booleans(),
    line_end=st.sampled_from(["\n", "\r\n"]),
    has_end=st.booleans(),
)
def test_marks_titles_and_files_without_a_header_are_read_as_pandas_reads_them(
    tmp_path: Path,
    rows: list[tuple[str, str, str]],
    marks: tuple[str, str, str | None],
    quoting: int,
    title: int,
    has_header: bool,
    line_end: str,
    has_end: bool,
) -> None:
    delimiter, decimal, thousands = marks

    def mark(number: str) -> str:
        return number.translate({ord("."): decimal, ord(","): thousands or ""})

    text = io.StringIO(newline="")
    text.write(f"a title{line_end}" * title)
    writer = csv.writer(
        text,
        delimiter=delimiter,
        lineterminator=delimiter * (has_end and has_header) + line_end,
        quoting=quoting,  # type: ignore[arg-type]
    )
    if has_header:
        text.write(delimiter.join(["a", " label ", "b"]) + line_end)
    # So that there is a row that is not blank.
    for a, label, b in [("1", "x", "2"), *rows]:
        writer.writerow([mark(a), label, mark(b)])
    path = tmp_path / "rows.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    options = ReadingOptions(
        delimiter=delimiter,
        decimal=decimal,
        thousands=thousands,
        has_header=has_header,
        skip_rows=title,
    )
    table = CsvTable(path, options=options)

    expected = pandas.read_csv(
        path,
        sep=delimiter,
        decimal=decimal,
        thousands=thousands,
        header=0 if has_header else None,
        names=["a", "label", "b"],
        usecols=["a", "label", "b"],
        index_col=False,
        skiprows=title,
        keep_default_na=False,
        na_values={name: [*MISSING_TEXTS, " "] for name in "ab"},
        dtype={"label": object},
    )
    names = ("a", "label", "b") if has_header else ("feature_0", "feature_1", "feature_2")
    assert table.columns == names
    found = concat_chunks(list(table.chunks(names[::2], names[1:2])))
    # To the bit, another test says; pandas rounds otherwise.
    np.testing.assert_allclose(found.points, expected[["a", "b"]].to_numpy(float), rtol=1e-13)
    assert found.kept is not None
    assert found.kept[names[1]].to_pylist() == expected["label"].tolist()
    assert not found.faults
