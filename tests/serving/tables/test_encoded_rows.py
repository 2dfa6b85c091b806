"""What a fit that takes columns by name gets of files, whatever their order."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kmeans_module import Encoder
from kmeans_module.column_training import encode_arrays
from kmeans_module.columns import CategoryColumn, NumberColumn, VectorColumn
from kmeans_module.raw_columns import read_columns
from serving.tables.encoded_rows import EncodedRows, Encoding, read_encoded_rows
from serving.tables.errors import BadCell, ColumnMismatch, NoRows
from serving.tables.feature_selection import select_features
from serving.tables.input_files import open_table

from .row_files import write_csv

HEADER = ["id", "x", "y", "plan"]
ROWS = [
    ["u1", 1, "", "free"],
    ["u2", "NA", 4, "paid"],
    ["u3", 4, 8, ""],
    ["u4", 10, 6, "NA"],
]


def read(
    folder: Path, files: list[list[list[object]]], encoding: Encoding, **options: object
) -> EncodedRows:
    tables = [
        open_table(write_csv(folder / f"{number}.csv", HEADER, rows))
        for number, rows in enumerate(files)
    ]
    return read_encoded_rows(tables, ["x", "y", "plan"], encoding, **options)  # type: ignore[arg-type]


def test_numbers_are_imputed_and_categories_encoded_as_the_graph_does(tmp_path: Path) -> None:
    rows = read(tmp_path, [ROWS], Encoding(("plan",), "mean", "category"))
    assert rows.takes == (
        NumberColumn("x", 5.0),
        NumberColumn("y", 6.0),
        CategoryColumn("plan", ("NA", "free", "paid"), True),
    )
    assert rows.columns == ("x", "y", "plan=NA", "plan=free", "plan=paid", "plan=(unknown)")
    np.testing.assert_array_equal(
        rows.points,
        [
            [1, 6, 0, 1, 0, 0],
            [5, 4, 0, 0, 1, 0],
            [4, 8, 0, 0, 0, 1],
            [10, 6, 1, 0, 0, 0],
        ],
    )
    assert (rows.rows_read, rows.rows_left_out) == (4, 0)
    assert (dict(rows.imputed), dict(rows.missing)) == ({"x": 1, "y": 1}, {})
    assert rows.notes() == [
        "imputed missing numbers by the mean of the column (x: 1 by 5, y: 1 by 6)"
    ]
    # As a client or a publisher hands it to the model.
    encoder = Encoder(rows.takes)
    arrays = read_columns(rows.takes, rows.table())
    np.testing.assert_array_equal(encode_arrays(encoder, arrays), rows.points)


@pytest.mark.parametrize("impute", ["mean", "median"])
def test_what_is_learned_depends_on_no_order_of_rows_or_files(tmp_path: Path, impute: str) -> None:
    rng = np.random.default_rng(3)
    made: list[list[object]] = [
        [f"u{number}", x, "" if number % 5 == 0 else y, f"p{number % 7}"]
        for number, (x, y) in enumerate(rng.lognormal(sigma=9, size=(300, 2)).tolist())
    ]
    encoding = Encoding(("plan",), impute)  # type: ignore[arg-type]
    whole = read(tmp_path, [made], encoding)
    parts = read(tmp_path, [made[200:], made[:77][::-1], made[77:200]], encoding)
    assert whole.takes == parts.takes
    assert sorted(map(bytes, whole.points)) == sorted(map(bytes, parts.points))


def test_without_impute_and_in_vectors_a_missing_value_leaves_its_row_out(tmp_path: Path) -> None:
    rows = read(tmp_path, [ROWS], Encoding(("plan",)))
    np.testing.assert_array_equal(rows.points, [[4, 8, 0, 0, 0], [10, 6, 1, 0, 0]])
    assert rows.notes()[0] == "left out 2 of 4 rows with a missing value (x: 1, y: 1)"
    pq.write_table(
        pa.table(
            {
                "v": pa.array([[1.0, 2.0], None, [3.0, None], [4.0, 5.0]]),
                "x": [1.0, None, 2.0, None],
                "w": [1.0, 1.0, 1.0, 3.0],
            }
        ),
        tmp_path / "v.parquet",
    )
    table = open_table(tmp_path / "v.parquet")
    found = read_encoded_rows([table], ["v", "x"], Encoding((), 0.5), weight_column="w")
    assert found.takes == (VectorColumn("v", 2), NumberColumn("x", 0.5))
    np.testing.assert_array_equal(found.points, [[1, 2, 1], [4, 5, 0.5]])
    assert found.weights is not None
    np.testing.assert_array_equal(found.weights, [1, 3])
    assert (dict(found.missing), dict(found.imputed)) == ({"v": 2}, {"x": 2})
    assert [*found.widths] == [("v", 2), ("x", 1)]


def test_rows_of_zeros_are_left_out_for_cosine_distance_once_they_are_encoded(
    tmp_path: Path,
) -> None:
    table = open_table(
        write_csv(tmp_path / "r.csv", ["x", "plan"], [[0, ""], [0, "a"], [2, ""], ["", ""]])
    )
    rows = read_encoded_rows([table], ["x", "plan"], Encoding(("plan",), 0.0), skip_zero_rows=True)
    np.testing.assert_array_equal(rows.points, [[0, 1], [2, 0]])
    assert (rows.zero_rows, rows.rows_left_out) == (2, 2)
    assert [len(each) for each in rows.values] == [2, 2]


def test_a_category_of_too_many_values_is_refused_and_one_like_an_id_is_named(
    tmp_path: Path,
) -> None:
    for count, outcome in ((1001, "refused"), (1000, "warned")):
        path = write_csv(tmp_path / f"{count}.csv", ["id"], [[f"u{n}"] for n in range(count)])
        if outcome == "refused":
            with pytest.raises(
                ColumnMismatch,
                match=r"--categories id: has more than 1,000.*leave it out, or merge",
            ):
                read_encoded_rows([open_table(path)], ["id"], Encoding(("id",)))
            continue
        (note,) = read_encoded_rows([open_table(path)], ["id"], Encoding(("id",))).notes()
        assert note.startswith("warning: the category 'id' has 1,000 values in 1,000 rows: if it")


def test_each_mistake_in_the_rows_has_its_line(tmp_path: Path) -> None:
    with pytest.raises(BadCell, match=r"row 2 \(line 3\), column 'x': 'word' is not a number"):
        read(tmp_path, [[ROWS[0], ["u", "word", 1, "a"]]], Encoding(("plan",), "mean"))
    with pytest.raises(BadCell, match=r"column 'x': 1e.39 is more than float32"):
        read(tmp_path, [[ROWS[0], ["u", 1e39, 1, "a"]]], Encoding(("plan",), "mean"))
    with pytest.raises(ColumnMismatch, match="'y' holds no value; leave it out with --exclude"):
        read(tmp_path, [[["u", 1, "", "a"]]], Encoding(("plan",), "mean"))
    with pytest.raises(ColumnMismatch, match="'plan' holds no value; leave it out of --categories"):
        read(tmp_path, [[["u", 1, 2, ""]]], Encoding(("plan",), "mean"))
    with pytest.raises(NoRows, match=r"each of the 2 rows.*'x' lacks 1.*give --impute"):
        read(tmp_path, [[["u", 1, "", "a"], ["u", "", 2, "a"]]], Encoding(("plan",)))
    with pytest.raises(NoRows, match="has a header and no rows"):
        read(tmp_path, [[]], Encoding(("plan",)))


def test_a_selection_keeps_categories_beside_numbers_and_names_texts_that_may_be_some(
    tmp_path: Path,
) -> None:
    rows = [[f"u{n}", n % 3 / 2, "NA" if n % 2 else "DE", n % 5] for n in range(30)]
    table = open_table(write_csv(tmp_path / "r.csv", ["id", "x", "region", "seats"], rows))
    plain = select_features([table])
    assert plain.names == ("x", "seats")
    assert plain.may_be_categories == ("region",)
    assert "--categories region would take 1 column of text as categories" in plain.notes()
    chosen = select_features([table], ["x"], ["seats", "region"])
    assert chosen.names == ("region", "seats")
    assert chosen.notes() == [
        "features: 2 categories (seats, region)",
        "left out 1 column (id: text ('u0'))",
    ]
