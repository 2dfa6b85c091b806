"""Which columns of tables are the features of a fit, which are left out, and what is said of it."""

import itertools
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.tables.column_spread import spread_note
from serving.tables.errors import BadCell, ColumnMismatch, NoRows
from serving.tables.feature_selection import is_id_name, select_features
from serving.tables.input_files import open_table
from serving.tables.training_rows import read_training_rows

from .row_files import write_csv, write_tfrecord

ROWS = 120


def test_numeric_columns_are_taken_in_the_order_of_the_first_file(tmp_path: Path) -> None:
    first = write_csv(tmp_path / "1.csv", ["b", "name", "a"], [[1, "x", ""]])
    second = write_csv(tmp_path / "2.csv", ["a", "b", "name"], [[2, 3, "y"]])
    tables = [open_table(first), open_table(second)]

    selection = select_features(tables)

    # In the first file alone, nobody knows what a holds.
    assert selection.names == ("b", "a")
    assert selection.left_out == {"name": "text ('x')"}
    np.testing.assert_array_equal(read_training_rows(tables, selection.names).points, [[3, 2]])


def test_a_feature_that_a_file_lacks_is_named_with_both_files(tmp_path: Path) -> None:
    short, long = (
        open_table(write_csv(tmp_path / f"{len(names)}.csv", names, [[1] * len(names)]))
        for names in (["a"], ["a", "b"])
    )
    for tables in ([long, short], [short, long]):
        with pytest.raises(
            ColumnMismatch, match=r"1\.csv: no column 'b' \(columns: a\); .*2\.csv has it"
        ):
            select_features(tables)
        assert select_features(tables, ["b"]).names == ("a",)
    assert len(read_training_rows([short, long], ["a"]).points) == 2


def test_a_column_that_is_no_feature_may_be_in_one_file_alone(tmp_path: Path) -> None:
    first = write_csv(tmp_path / "1.csv", ["a", "note"], [[1, "x"]])
    second = write_csv(tmp_path / "2.csv", ["a", "town", ""], [[2, "rome", 7]])
    selection = select_features([open_table(first), open_table(second)])
    assert selection.names == ("a",)
    assert list(selection.left_out) == ["note", "town", ""]


def test_numbers_in_one_file_and_text_in_another_are_an_error_and_not_a_dropped_column(
    tmp_path: Path,
) -> None:
    text = open_table(write_csv(tmp_path / "text.csv", ["a", "b"], [[1, "x"]]))
    numbers = open_table(write_csv(tmp_path / "numbers.csv", ["a", "b"], [[1, 2]]))
    with pytest.raises(ColumnMismatch, match=r"numbers\.csv: column 'b' holds numbers, and in .*"):
        select_features([text, numbers])
    # In the other order it is the cell that is named, by what reads it.
    assert select_features([numbers, text]).names == ("a", "b")
    assert select_features([text, numbers], ["b"]).names == ("a",)


def test_a_file_without_numbers_says_what_its_columns_hold(tmp_path: Path) -> None:
    table = open_table(write_csv(tmp_path / "rows.csv", ["a", "b"], [["x", ""]]))
    with pytest.raises(ColumnMismatch) as caught:
        select_features([table])
    assert "no column holds numbers to cluster ('a' holds text ('x'); 'b' holds no values)" in str(
        caught.value
    )
    empty = open_table(write_csv(tmp_path / "empty.csv", ["a"], [[""], ["NA"]]))
    with pytest.raises(NoRows, match=r"empty\.csv: has no row with a value"):
        select_features([empty])


def test_what_a_fit_takes_and_leaves_out_is_a_line_each(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "rows.csv", ["3", "", "2", "1"], [[7, "y", "x", 8]])
    assert select_features([open_table(path)]).notes() == [
        "features: 2 numeric columns (3, 1)",
        "left out 2 columns ((unnamed): a column without a name, 2: text ('x'))",
        "warning: the names of the columns are numbers; has the file no header?",
    ]


def test_what_pandas_notes_call_the_index_is_no_feature(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [0.5, 2.5, 1.5, 3.5], "n": [3, 1, 9, 2]})
    frame[frame["n"] < 9].to_parquet(tmp_path / "filtered.parquet")
    frame.set_index("n").to_parquet(tmp_path / "named.parquet")
    frame.set_index("n").reset_index().to_parquet(tmp_path / "plain.parquet")

    filtered, named, plain = (
        select_features([open_table(tmp_path / f"{name}.parquet")])
        for name in ("filtered", "named", "plain")
    )

    assert filtered.names == ("x", "n")
    assert filtered.left_out == {"__index_level_0__": "the index of a data frame"}
    assert (named.names, named.left_out) == (("x",), {"n": "the index of a data frame"})
    assert (plain.names, plain.left_out) == (("n", "x"), {})


def test_an_index_in_one_part_of_a_data_set_is_none_of_the_features_of_the_others(
    tmp_path: Path,
) -> None:
    frame = pd.DataFrame({"x": np.arange(9.0)})
    frame[:4].to_parquet(tmp_path / "1.parquet")
    frame[frame["x"].isin([5, 6, 8])].to_parquet(tmp_path / "2.parquet")
    for order in (1, -1):
        tables = [open_table(tmp_path / f"{number}.parquet") for number in (1, 2)[::order]]
        assert select_features(tables).names == ("x",)


@pytest.mark.parametrize("notes", [b"{", b"[]", b'{"index_columns": 5}', b'{"index_columns": [7]}'])
def test_notes_of_pandas_that_nobody_can_read_name_no_index(tmp_path: Path, notes: bytes) -> None:
    table = pa.table({"x": [1.0]}).replace_schema_metadata({"pandas": notes})
    pq.write_table(table, tmp_path / "rows.parquet")
    assert select_features([open_table(tmp_path / "rows.parquet")]).names == ("x",)


@pytest.mark.parametrize("name", ["Unnamed: 0", "Unnamed: 0.1", "__index_level_1__"])
def test_the_names_that_pandas_gives_an_index_are_no_features(tmp_path: Path, name: str) -> None:
    table = open_table(write_csv(tmp_path / "rows.csv", [name, "x"], [[5, 1], [9, 2]]))
    selection = select_features([table])
    assert (selection.names, list(selection.left_out)) == (("x",), [name])


@pytest.mark.parametrize("ending", ["csv", "parquet", "npy", "tfrecord"])
def test_a_row_counter_is_left_out_in_any_order_and_over_several_files(
    tmp_path: Path, ending: str
) -> None:
    numbers = np.random.default_rng(3).permutation(np.arange(-7, ROWS - 7))
    values = np.random.default_rng(4).normal(size=ROWS)
    tables = []
    for part, rows in enumerate(np.array_split(np.arange(ROWS), 3)):
        path = tmp_path / f"{part}.{ending}"
        columns = {"feature_0": numbers[rows], "feature_1": values[rows]}
        if ending == "csv":
            write_csv(path, list(columns), list(zip(*columns.values(), strict=True)))
        elif ending == "parquet":
            pq.write_table(pa.table(columns), path)
        elif ending == "npy":
            np.save(path, np.column_stack(list(columns.values())))
        else:
            pairs = zip(*(column.tolist() for column in columns.values()), strict=True)
            write_tfrecord(path, [dict(zip(columns, pair, strict=True)) for pair in pairs])
        tables.append(open_table(path))

    selection = select_features(tables)

    assert selection.names == ("feature_1",)
    assert selection.left_out == {"feature_0": "a row counter, -7 to 112"}
    # Of one part alone, the numbers have gaps.
    assert select_features(tables[:1]).names == ("feature_0", "feature_1")


@pytest.mark.parametrize(
    "column",
    [
        [*range(98), 98],  # one row too few
        [*range(ROWS - 1), 0],  # one twice
        [*range(0, 2 * ROWS, 2)],  # half of them left out
        [*range(100), *[""] * 20],  # a sixth missing
        [*range(ROWS - 1), ROWS - 1.5],
        [row / 2 for row in range(ROWS)],
    ],
    ids=["short", "twice", "gaps", "missing", "no-integer", "halves"],
)
def test_what_is_nearly_a_row_counter_is_a_feature(tmp_path: Path, column: list[object]) -> None:
    rows = [[value, index % 7] for index, value in enumerate(column)]
    table = open_table(write_csv(tmp_path / "rows.csv", ["n", "x"], rows))
    assert select_features([table]).names == ("n", "x")


@pytest.mark.parametrize(
    ("column", "last"),
    [([*range(ROWS - 1), ROWS], ROWS), ([*range(ROWS - 1), ""], ROWS - 2)],
    ids=["gap", "missing"],
)
def test_a_row_counter_with_few_gaps_is_one_all_the_same(
    tmp_path: Path, column: list[object], last: int
) -> None:
    rows = [[value, index % 7] for index, value in enumerate(column)]
    for order in (rows, rows[::-1]):
        table = open_table(write_csv(tmp_path / "rows.csv", ["n", "x"], order))
        assert select_features([table]).left_out == {"n": f"a row counter, 0 to {last}"}


def test_a_row_counter_may_begin_anew_in_each_file(tmp_path: Path) -> None:
    tables = []
    for part, size in enumerate((ROWS, ROWS, 7)):
        # Two files are alike in x, which counts in neither the files together nor the last.
        rows = [[row, row if part < 2 else row * 50] for row in range(size)]
        path = tmp_path / f"{part}.csv"
        tables.append(open_table(write_csv(path, ["n", "x"], rows)))
    selection = select_features(tables)
    assert selection.names == ("x",)
    assert selection.left_out == {"n": f"a row counter, 0 to {ROWS - 1} in each file"}


def test_a_vector_is_counted_as_one_column_however_the_file_has_it(tmp_path: Path) -> None:
    flat = open_table(write_csv(tmp_path / "a.csv", ["e[0]", "e[1]", "x"], [[1, 2, 3]]))
    pq.write_table(pa.table({"e": [[1.0, 2.0]], "x": [3.0]}), tmp_path / "b.parquet")
    for table in (flat, open_table(tmp_path / "b.parquet")):
        assert select_features([table]).notes() == ["features: 2 numeric columns (e[2], x)"]


def test_a_row_counter_is_none_of_a_model_even_where_nothing_else_is(tmp_path: Path) -> None:
    rows = [[row] for row in range(ROWS)]
    table = open_table(write_csv(tmp_path / "rows.csv", ["n"], rows))
    with pytest.raises(ColumnMismatch, match=r"'n' holds a row counter, 0 to 119"):
        select_features([table])


def test_a_column_to_exclude_that_is_not_there_is_named_with_the_nearest(tmp_path: Path) -> None:
    table = open_table(write_csv(tmp_path / "rows.csv", ["height", "weight"], [[1, 2]]))
    with pytest.raises(ColumnMismatch) as caught:
        select_features([table], ["wieght"])
    assert str(caught.value) == (
        f"--exclude wieght: not in {table.name} (columns: height, weight); did you mean 'weight'?"
    )


@pytest.mark.parametrize(
    "name",
    [
        "id",
        "ID",
        "customer_id",
        "userId",
        "USER-ID",
        "ZIPCode",
        "zip",
        "home phone",
        "uuid",
        "ids",
        "postal_code",
    ],
)
def test_a_name_with_the_word_of_an_id_is_that_of_an_id(name: str) -> None:
    assert is_id_name(name)


@pytest.mark.parametrize("name", ["humidity", "width", "video", "paid", "Idaho", "zipped", "x"])
def test_a_name_that_only_has_the_letters_is_none(name: str) -> None:
    assert not is_id_name(name)


def test_ids_are_taken_and_named(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "rows.csv", ["zip", "userId", "x"], [[1, 2, 3]])
    selection = select_features([open_table(path)])
    assert selection.names == ("zip", "userId", "x")
    assert selection.notes()[1:] == [
        "warning: these columns have names of ids: zip, userId; leave out ids with --exclude"
    ]


_MISSING = ["", "NA", " ? ", "-"]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=20
)
@given(seed=st.integers(0, 2**32 - 1), missing=st.integers(0, ROWS))
def test_the_selection_and_its_notes_are_the_same_for_any_order_of_the_rows(
    tmp_path: Path, seed: int, missing: int
) -> None:
    rng = random.Random(seed)
    header = ["row", "customer_id", "x", "y", "nothing", "town", "mixed", "flag"]
    values: list[object] = [rng.gauss(0, 10 ** rng.uniform(-2, 4)) for _ in range(ROWS)]
    values[:missing] = [rng.choice(_MISSING) for _ in range(missing)]
    rows = [
        [
            *(row, 1000 + row % 9, value, row % 5, "", rng.choice(["rome", "pisa", "größe", "NA"])),
            *(rng.choice(["3", "blue", "true", "?"]), rng.choice(["true", "False", "TRUE", " "])),
        ]
        for row, value in enumerate(values)
    ]
    said = []
    for order in (rows, rng.sample(rows, ROWS)):
        table = open_table(write_csv(tmp_path / "rows.csv", header, order))
        selection = select_features([table])
        notes = selection.notes()
        try:
            found = read_training_rows([table], selection.names)
        except NoRows as error:
            notes.append(str(error))
        else:
            spread = spread_note(found.points, found.columns, None, is_cosine=False)
            notes += [*found.notes(), spread or "alike"]
        said.append((selection, notes))
    assert said[0] == said[1]
    assert "flag" in selection.names
    assert selection.left_out["row"] == "a row counter, 0 to 119"


@pytest.mark.parametrize("place", [0, 57, ROWS - 1])
def test_a_text_among_numbers_is_named_wherever_it_stands_and_drops_no_column(
    tmp_path: Path, place: int
) -> None:
    rows: list[list[object]] = [[row % 7, row % 5] for row in range(ROWS)]
    rows[place][0] = "12O"
    table = open_table(write_csv(tmp_path / "rows.csv", ["x", "y"], rows))
    selection = select_features([table])
    assert selection.names == ("x", "y")
    with pytest.raises(BadCell, match=rf"row {place + 1} \(line {place + 2}\), column 'x': '12O'"):
        read_training_rows([table], selection.names)
    assert select_features([table], ["x"]).names == ("y",)


@pytest.mark.parametrize("ending", ["jsonl", "tfrecord"])
def test_the_text_that_stands_for_a_column_is_the_same_in_any_order(
    tmp_path: Path, ending: str
) -> None:
    rows: list[dict[str, Any]] = [
        {"x": 1.0 + row, "town": town} for row, town in enumerate(["rome", "bari", "pisa"])
    ]
    for order in itertools.permutations(rows):
        path = tmp_path / f"rows.{ending}"
        if ending == "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in order))
        else:
            write_tfrecord(path, [{**row, "town": row["town"].encode()} for row in order])
        assert select_features([open_table(path)]).left_out == {"town": "text ('bari')"}
