"""Tables cut for workers: the parts in order are all rows, which keep their numbers."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.tables.errors import BadCell
from serving.tables.float32_rounding import Float32Rounding
from serving.tables.input_files import open_table
from serving.tables.table import Table
from serving.tables.table_part import TablePart, split_tables

from .row_files import write_csv

N = 1000


@pytest.fixture
def tables(tmp_path: Path) -> list[Table]:
    """Parquet of groups of 150 rows in a folder with a key, an array and two files of CSV."""
    (tmp_path / "day=3").mkdir()
    paths = [tmp_path / "day=3" / "a.parquet", tmp_path / "b.npy", tmp_path / "c.csv"]
    pq.write_table(pa.table({"feature_0": np.arange(400.0)}), paths[0], row_group_size=150)
    np.save(paths[1], np.arange(400.0, 700.0)[:, None])
    write_csv(paths[2], ["feature_0"], [[number] for number in range(700, N)])
    return [open_table(path) for path in paths]


def _rows(table: Table) -> list[float]:
    return [row for block in table.blocks(["feature_0"]) for row in block[:, 0].tolist()]


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 7, 50])
def test_the_shares_of_workers_are_all_rows_in_their_order(
    tables: list[Table], workers: int
) -> None:
    shares = split_tables(tables, [400, 300, 290], workers)
    assert len(shares) == workers
    read = [[row for table in share for row in _rows(table)] for share in shares]
    assert [row for share in read for row in share] == list(range(N))
    if workers in (2, 3):
        # A row group, or half of the CSV, is what a share may be too long by.
        assert max(map(len, read)) <= N / workers + 150
    parts = [each for share in shares for each in share if isinstance(each, TablePart)]
    assert all(each.start in (0, 150, 300) for each in parts if each.name.endswith("parquet"))


def test_a_part_can_be_read_from_a_row_on_with_the_columns_of_its_folder(
    tables: list[Table],
) -> None:
    part = TablePart(tables[0], 150, 300)
    assert part.rows == 150
    (chunk,) = part.chunks(["feature_0", "day"], start=148)
    assert chunk.points.tolist() == [[298, 3], [299, 3]]
    assert not list(part.chunks(["feature_0"], start=150))


def test_files_of_which_none_can_be_cut_are_given_whole(tables: list[Table]) -> None:
    csv = tables[2]
    assert split_tables([csv], [300], 2) == [[csv], []]
    assert split_tables([csv] * 4, [0] * 4, 2) == [[csv] * 2, [csv] * 2]


def test_a_bad_row_of_a_part_has_its_number_in_the_file(tmp_path: Path) -> None:
    vectors = [[1.0, 2.0]] * 9 + [[3.0]]
    pq.write_table(pa.table({"v": vectors}), tmp_path / "v.parquet", row_group_size=5)
    table = open_table(tmp_path / "v.parquet").with_widths({"v": 2})
    with pytest.raises(BadCell, match=r"v\.parquet: row 10 \(counted from 1\), column 'v'"):
        list(TablePart(table, 5, 10).blocks(["v"]))


def test_what_rounding_does_to_parts_of_rows_is_what_it_does_to_all() -> None:
    # Each half alone lies too close together for float32; side by side they are far apart.
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 2)) * [1e-3, 1] + 1e5
    rows[200:, 0] += 1e5
    whole, first, second = (Float32Rounding(2) for _ in range(3))
    whole.round(rows)
    first.round(rows[:200])
    second.round(rows[200:])
    assert [*first.has_lost_digits(), *second.has_lost_digits()] == [True, True] * 2
    merged = Float32Rounding.of(first.numbers.tolist())
    merged.merge(Float32Rounding.of(second.numbers.tolist()))
    merged.merge(Float32Rounding(2))
    np.testing.assert_allclose(merged.numbers, whole.numbers, rtol=1e-12)
    assert [*merged.has_lost_digits()] == [*whole.has_lost_digits()] == [False, True]
