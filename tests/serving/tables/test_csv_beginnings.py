"""Where a CSV file is cut for workers: each part begins with the row that it says."""

import random
from pathlib import Path

import numpy as np
import pytest

from serving.tables import csv_beginnings
from serving.tables.csv_table import CsvTable
from serving.tables.errors import BadCell, UnreadableFile
from serving.tables.reading_options import ReadingOptions
from serving.tables.table import Table
from serving.tables.table_part import TablePart, cut_tables, split_tables
from tests.kmeans_module.worker_threads import run_workers

TEXTS = ("plain", "", '"a,b"', '"two\nlines"', '"x""y"', '"\r\n\n"', '""', '"ends in ""\n"""')


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_beginnings, "PIECE_BYTES", 37)


def _write(path: Path, seed: int, end: str = "\n", *, last_end: bool = True) -> Path:
    """Rows of a number that counts them and of a text, with blank lines between some."""
    drawn = random.Random(seed)
    lines = ["n,text"]
    for number in range(300):
        lines += [f"{number},{drawn.choice(TEXTS)}", *[""] * drawn.choice((0, 0, 0, 1, 2))]
    path.write_bytes((end.join(lines) + end * last_end).encode())
    return path


def _cut(table: Table, workers: int) -> Table:
    """The table with its beginnings, which all workers find alike."""
    found = run_workers(workers, table.with_beginnings)
    assert all(list(each.beginnings) == list(found[0].beginnings) for each in found)
    assert all(each.rows == found[0].rows for each in found)
    return found[0]


def _read(table: Table, start: int = 0) -> tuple[list[float], list[object]]:
    chunks = list(table.chunks(["n"], ["text"], start))
    numbers = [number for chunk in chunks for number in chunk.points[:, 0].tolist()]
    kept = [chunk.kept.column("text") for chunk in chunks if chunk.kept is not None]
    return numbers, [text for cells in kept for text in cells.to_pylist()]


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last_end", [True, False])
def test_a_reading_from_each_beginning_gives_the_rows_from_there(
    workers: int, end: str, last_end: bool, tmp_path: Path
) -> None:
    path = _write(tmp_path / "rows.csv", workers, end, last_end=last_end)
    whole = _read(CsvTable(path))
    table = _cut(CsvTable(path), workers)
    assert table.rows == table.estimated_rows == 300
    assert len(table.beginnings) > 20
    assert table.beginnings[0] == 0
    assert list(table.beginnings) == sorted({*table.beginnings})
    for row in table.beginnings[::9]:
        assert _read(table, row) == tuple(each[row:] for each in whole)
    # Also from a row amid two of them, and of a part.
    assert _read(table, 133) == tuple(each[133:] for each in whole)
    assert _read(TablePart(table, 133, 140)) == tuple(each[133:140] for each in whole)


def test_the_parts_of_workers_are_all_rows_and_about_as_many_each(tmp_path: Path) -> None:
    paths = [_write(tmp_path / f"{number}.csv", number) for number in range(3)]
    tables = [CsvTable(path) for path in paths]
    sizes = [table.estimated_rows or 0 for table in tables]

    def share(reducer: object) -> list[Table]:
        cut = cut_tables(tables, lambda table: table.estimated_rows or 0, reducer)  # type: ignore[arg-type]
        # The second alone is one within which a worker's rows end.
        assert [each.rows is None for each in cut] == [True, False, True]
        return split_tables(cut, [sizes[0], 300, sizes[2]], 2)[reducer.worker]  # type: ignore[attr-defined]

    shares = run_workers(2, share)
    numbers = [[n for table in share for n in _read(table)[0]] for share in shares]
    assert numbers[0] + numbers[1] == [*range(300)] * 3
    assert max(map(len, numbers)) < 600


def test_a_bad_cell_and_a_row_that_is_too_long_have_the_numbers_of_the_file(tmp_path: Path) -> None:
    path = _write(tmp_path / "rows.csv", 0)
    text = path.read_text()
    for bad, said in (("217,", r"row 218 \(line \d+\), column 'n': 'b217' is not a number"),):
        path.write_text(text.replace(f"\n{bad}", f"\nb{bad}"))
        table = _cut(CsvTable(path), 2)
        with pytest.raises(BadCell, match=said):
            list(TablePart(table, 150, 300).blocks(["n"]))
    path.write_text(text.replace("\n217,", "\n1,2,217,"))
    table = _cut(CsvTable(path), 2)
    with pytest.raises(BadCell, match=r"row 218 \(line \d+\) has 4 cells, and the header has 2"):
        list(TablePart(table, 150, 300).blocks(["n"]))
    first = list(TablePart(table, 0, 150).blocks(["n"]))
    assert np.concatenate(first)[:, 0].tolist() == [*range(150)]


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("a quote amid a cell", "n,text\n" + '1,6" pipe\n2,x\n' * 90, ReadingOptions()),
        ("a comment", "n,text\n" + "1,x # y\n" * 90, ReadingOptions(comment="#")),
        ("a quote that is not closed", "n,text\n" + "1,x\n" * 90 + '2,"y\n', ReadingOptions()),
    ],
)
def test_where_only_parsing_tells_the_rows_the_file_stays_whole(
    name: str, text: str, options: ReadingOptions, tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    table = _cut(CsvTable(path, options=options), 3)
    assert (list(table.beginnings), table.rows) == ([0], None), name


def test_rows_without_a_header_and_a_header_without_rows_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"\xef\xbb\xbf" + b"1,2\n3,4\n" * 40)
    table = _cut(CsvTable(path, options=ReadingOptions(has_header=False)), 2)
    assert (table.rows, len(table.beginnings) > 5) == (80, True)
    (numbers,) = table.chunks(["feature_1"], start=41)
    assert numbers.points[:, 0].tolist() == [2.0 if row % 2 == 0 else 4.0 for row in range(41, 80)]
    path.write_text("n,text\n\n\n")
    assert _cut(CsvTable(path), 2).rows == 0


def test_a_file_of_one_piece_is_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_beginnings, "PIECE_BYTES", 2**20)
    table = _cut(CsvTable(_write(tmp_path / "rows.csv", 0)), 3)
    assert (list(table.beginnings), table.rows) == ([0], 300)


def test_a_file_that_is_gone_is_one_line(tmp_path: Path) -> None:
    table = CsvTable(_write(tmp_path / "rows.csv", 0))
    (tmp_path / "rows.csv").unlink()
    with pytest.raises(UnreadableFile, match="cannot be read: No such file"):
        _cut(table, 1)
