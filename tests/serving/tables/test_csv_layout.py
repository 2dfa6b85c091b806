"""Files as people write them: each is read, or its error says what row 1 holds and what helps."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.tables.csv_table import CsvTable
from serving.tables.errors import BadCell, ColumnMismatch, TableError, UnreadableFile
from serving.tables.feature_selection import select_features
from serving.tables.input_files import open_table
from serving.tables.reading_options import ReadingOptions
from serving.tables.table import concat_chunks

from .row_files import read_all


def open_text(folder: Path, name: str, text: str, **options: Any) -> CsvTable:
    path = folder / name
    path.write_bytes(text.encode())
    table = open_table(path, ReadingOptions(**options))
    assert isinstance(table, CsvTable)
    return table


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("rows.tsv", "a\tb\n1\t2\n3\tNA\n", {}),
        ("rows.txt", "a,b\n1,2\n3,NA\n", {}),
        ("rows.txt", "a;b\n1;2\n3;NA\n", {}),
        ("rows.txt", "a\tb\n1\t2\n3\tNA\n", {}),
        ("rows.txt", "a|b\n1|2\n3|NA\n", {}),
        ("rows.csv", "a;b\n1;2\n3;NA\n", {"delimiter": ";"}),
        ("rows.txt", "a b\n1 2\n3 NA\n", {"delimiter": " "}),
        ("rows.csv", " a ,\tb\n 1 , 2\n3 , NA \n", {}),
        ("rows.csv", "a,b\n1,2,\n3,NA,\n", {}),
        ("rows.csv", "a,b,\n1,2,\n3,NA,\n", {}),
        ("rows.csv", "a,b,\n1,2\n3,NA\n", {}),
        ("rows.csv", "My title\na,b\n1,2\n3,NA\n", {"skip_rows": 1}),
        ("rows.csv", 'A "title\r\n\r\na,b\r\n1,2\r\n3,NA\r\n', {"skip_rows": 1}),
        ("rows.csv", "\ufeffMy title\na,b\n1,2\n3,NA\n", {"skip_rows": 1}),
        ("rows.csv", "# made, by\na,b # two\n1,2# x\n#\n3,NA\n", {"comment": "#"}),
        ("rows.csv", "a;b\n1,0;2\n3;NA\n", {"delimiter": ";", "decimal": ","}),
        ("rows.csv", "a,b\n1,2\n3,-999.0\n", {"na_values": ("-999",)}),
        ("rows.csv", "a,b\n1,2\n3, none given\n", {"na_values": ("none given",)}),
        ("rows.csv", "a,b,note,note\n1,2,x,y\n3,NA,x,y\n", {}),
    ],
)
def test_a_file_is_read_whatever_separates_its_cells_and_stands_round_them(
    tmp_path: Path, name: str, text: str, options: dict[str, Any]
) -> None:
    table = open_text(tmp_path, name, text, **options)
    assert select_features([table]).names == ("a", "b")
    np.testing.assert_array_equal(read_all(table, ["a", "b"]), [[1, 2], [3, np.nan]])


TEXTS = ["row 1 holds 'a', 'b' above numbers, and the header is"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("rows.csv", "a;b\n1,5;2\n", ["one column, 'a;b'", "--delimiter ';'"]),
        ("rows.csv", "a\tb\n1\t2\n", ["one column, 'a\\tb'", "--delimiter tab"]),
        ("rows.csv", "a|b\n1|2\n", ["--delimiter '|'"]),
        ("rows.tsv", "a,b\n1,2\n", ["--delimiter ','"]),
        ("rows.txt", "1.5 2.5\n3 4\n", ["--delimiter ' '"]),
        (
            "rows.csv",
            "My title\na,b\n1,2\n",
            ["row 1 holds 'a', 'b'", "the header is 'My title'", "give --skip-rows 1"],
        ),
        (
            "rows.csv",
            "My title\nby me\n\na,b\n1,2\n3,4\n",
            ["row 1 holds 'by me'", "are 'a', 'b', give --skip-rows 2"],
        ),
        ("rows.csv", "My title,\na,b\n1,2\n3,4\n", ["'My title', ''", "give --skip-rows 1"]),
        ("rows.csv", "My title, of May, 2\na,b\n1,2\n3,4\n", ["'a', 'b', give --skip-rows 1"]),
        ("rows.csv", "My title, of May\na,b\n1,2\n3,4\n", [*TEXTS, "names the columns, give --sk"]),
        ("rows.csv", "My title, May,\na,b\n1,2\n3,4\n", ["'a', 'b', give --skip-rows 1"]),
        ("rows.csv", "kilo,centi\na,b\n1,\n3,4\n", [*TEXTS, "units, give --na-values a,b"]),
        ("rows.csv", "h,w\nkg,\n1,2\n3,4\n", ["units, give --na-values kg"]),
        ("rows.csv", "h,kind,w\na a,x,b\n1,x,2\n3,y,4\n", ["units, give --na-values 'a a,b'"]),
        ("rows.csv", "# by me\na,b\n1,2\n3,4\n", ["give --skip-rows 1 or --comment '#'"]),
        ("rows.csv", "# by me\na\n1\n3\n", ["give --skip-rows 1 or --comment '#'; if it"]),
        (
            "rows.csv",
            'a,b\n"r1",1,2\n"r1",3,4\n',
            ["2 names ('a', 'b')", "row 1 has 3 cells ('r1', '1', '2')", "--skip-rows 1 --no-head"],
        ),
        ("rows.csv", "a,b\n1,2,\n3,4,5\n", ["row 1 has 3 cells ('1', '2', '')"]),
        ("rows.csv", "a,b\n1\n2\n", ["2 names ('a', 'b')", "row 1 has 1 cell ('1')"]),
    ],
)
def test_a_file_that_does_not_fit_together_says_what_row_1_holds_and_which_option_helps(
    tmp_path: Path, name: str, text: str, words: list[str]
) -> None:
    with pytest.raises(UnreadableFile) as caught:
        open_text(tmp_path, name, text)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_title_above_rows_without_names_is_told_too(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"row 1 holds 'Title', .*give --skip-rows 1"):
        open_text(tmp_path, "rows.csv", "Title\n1,2\n3,4\n", has_header=False)


def test_lines_that_are_passed_over_are_counted(tmp_path: Path) -> None:
    text = "My title\n# by me\n\na,b\n1,2\n\n3,x\n4,5\n5,\n"
    table = open_text(tmp_path, "rows.csv", text, skip_rows=1, comment="#")
    assert table.place(2) == "row 2 (line 7)"
    with pytest.raises(UnreadableFile, match=r"no line after the 10 of --skip-rows"):
        open_text(tmp_path, "rows.csv", text, skip_rows=10)


def test_a_cell_behind_the_empty_end_of_the_rows_is_a_fault_of_its_row(tmp_path: Path) -> None:
    rows = [f"{number},2," for number in range(300)]
    table = open_text(tmp_path, "rows.csv", "\n".join(["a,b", *rows, "3,4,5", "6,7, ", "8,9"]))
    faults = concat_chunks(list(table.chunks(["a"]))).faults
    assert [(at, fault.reason) for at, fault in sorted(faults.items())] == [
        (300, "has 3 cells, and the header has 2; quote cells that hold a comma"),
        (302, "has 2 cells, and each row has 3, the last of them empty; add a comma at its end"),
    ]
    with pytest.raises(BadCell, match=r"row 301 \(line 302\)"):
        read_all(table, ["a"])


HEADERLESS = [
    "0.126,-0.132,kind0\n0.640,0.105,kind1\n",
    "5.1,3.5\n4.9,3.0\n",
    "1,0,0\n0,1,0\n",
    "7,kind0\n8,kind1\n9,kind0\n",
    "5\n7\n9\n",
    "?,1.5\n0.3,0.8\n0.1,-1.3\n",
    "NA,2\n0.3,0.8\n0.1,-1.3\n",
    ",1.5\n0.3,0.8\n0.1,-1.3\n",
    "?,?\n0.3,0.8\n0.1,-1.3\n",
    "-,2,7\n0.3,0.8,1\n0.1,-1.3,5\n",
    "null,kind0\n8,kind1\n9,kind0\n",
]


@pytest.mark.parametrize("text", HEADERLESS)
def test_a_first_row_of_values_is_not_taken_for_names(tmp_path: Path, text: str) -> None:
    table = open_text(tmp_path, "rows.csv", text)
    with pytest.raises(
        ColumnMismatch, match=r"first line \(.*\) looks like a row of values.*--no-h"
    ):
        select_features([table])
    with pytest.raises(
        TableError, match=r"no column 'x' \(.*\); has the file no header\? give --no-header"
    ):
        read_all(table, ["x"])

    whole = open_text(tmp_path, "rows.csv", text, has_header=False)
    selection = select_features([whole])
    assert selection.names == tuple(f"feature_{i}" for i in range(len(selection.names)))
    expected = [
        [float("nan" if cell in ("", "?", "-", "NA", "null") else cell) for cell in cells]
        for cells in (line.split(",")[: len(selection.names)] for line in text.splitlines())
    ]
    np.testing.assert_array_equal(read_all(whole, selection.names), expected)
    assert whole.place(1) == "row 1 (line 1)"


@pytest.mark.parametrize(
    "text",
    [
        "0,1,2\n0.5,1,2\n1.5,3,4\n",
        "country,2019,2020,2021\nx,1,2,3\ny,4,5,6\n",
        "label,7\nx,1\ny,2\n",
        "1,b\n0.5,1\n1.5,3\n",
        "a,-\n0.5,1\n1.5,3\n",
        ",0\n0,1.5\n1,3.5\n",
        ",7.5\n1,1.5\n2,3.5\n",
        ",0,1\n0,1.5,2\n1,3.5,4\n",
    ],
)
def test_names_that_are_numbers_are_names_where_they_may_be(tmp_path: Path, text: str) -> None:
    table = open_text(tmp_path, "rows.csv", text)
    assert not table.looks_headerless
    assert select_features([table]).names == tuple(
        name for name in table.columns if name not in ("", "country", "label")
    )


THOUSANDS = 'a,b\n"1,034.60",1\n946.30,2\n"1,034,567.5",3\n'


@pytest.mark.parametrize(
    ("text", "options", "hint"),
    [
        (THOUSANDS, {}, "numbers with a comma between thousands? give --thousands ','"),
        ('a,b\n"-0,072",1\n"0,5",2\n', {}, "numbers with a decimal comma? give --decimal ','"),
        ('a,b\n"0,072",1\n"0,500",2\n', {}, "numbers with a decimal comma? give --decimal ','"),
        (
            'a,b\n"1,034",1\n"2,500",2\n',
            {},
            "numbers with a decimal comma? give --decimal ','; numbers with a comma between "
            "thousands? give --thousands ','",
        ),
        (
            "a;b\n1.000,5;1\n2,5;3\n1.000.000;2\n",
            {"delimiter": ";"},
            "numbers with a decimal comma and a point between thousands? give --decimal ',' "
            "--thousands '.'",
        ),
        (
            "a;b\n1 000,5;1\n2,5;3\n",
            {"delimiter": ";"},
            "numbers with a decimal comma and a blank between thousands? give --decimal ',' "
            "--thousands ' '",
        ),
        (
            "a;b\n0.5;1\n2.5;3\n",
            {"delimiter": ";", "decimal": ","},
            "numbers with a decimal point? leave out --decimal",
        ),
        (
            "a;b\n1,034.5;1\n2,034.5;3\n",
            {"delimiter": ";", "decimal": ",", "thousands": "."},
            "numbers with a comma between thousands? give --thousands ',' and leave out --decimal",
        ),
        ("a,b\nred,1\n2.5,2\n'1,5',3\n", {}, ""),
    ],
)
def test_numbers_under_other_marks_are_named_with_the_option_that_reads_them(
    tmp_path: Path, text: str, options: dict[str, Any], hint: str
) -> None:
    table = open_text(tmp_path, "rows.csv", text, **options)
    assert table.kinds()["a"].holds.endswith(f"; {hint})" if hint else "')")
    assert hint in select_features([table]).notes()[1]
    with pytest.raises(ColumnMismatch, match=re.escape(hint or "no column holds numbers")):
        select_features([table], ["b"])
    with pytest.raises(BadCell, match=f".* is not a number; .*{re.escape(hint)}"):
        read_all(table, ["a"])


def test_a_cell_under_other_marks_is_told_where_they_are_those_of_its_column(
    tmp_path: Path,
) -> None:
    rows = "".join(f"{number}\n" for number in range(1, 50))
    whole = open_text(tmp_path, "rows.tsv", f"a\n{rows}1,5\n")
    with pytest.raises(BadCell, match=r"row 50 .* '1,5' is not a number; .* give --decimal ','"):
        read_all(whole, ["a"])
    broken = open_text(tmp_path, "rows.tsv", f"a\n{rows.replace('7', '.7')}1,5\n")
    with pytest.raises(BadCell, match=r"'1,5' is not a number; if it means a missing value"):
        read_all(broken, ["a"])


@pytest.mark.parametrize("names", [["r1", "r2", "r3"], ["1", "2", "3"], ["0", "1", "2"]])
def test_row_names_as_r_writes_them_are_a_column_without_a_name(
    tmp_path: Path, names: list[str]
) -> None:
    rows = "".join(f'"{name}",{place}.5,7\n' for place, name in enumerate(names))
    table = open_text(tmp_path, "rows.csv", f'"a","b"\n{rows}')
    selection = select_features([table])
    assert selection.names == ("a", "b")
    assert "left out 1 column ((unnamed): a column without a name)" in selection.notes()
    np.testing.assert_array_equal(read_all(table, ["a", "b"]), [[0.5, 7], [1.5, 7], [2.5, 7]])


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("a,b\nkg,cm\n1,2\n3,4\n", {"na_values": ("kg", "cm")}),
        ("a,b\nTrue,x\nFalse,1\nTrue,2\n", {}),
        ("a,b\n1,x\n2,1\n3,2\n", {}),
        ("a,b\nred,x\nblue,y\nred,z\n", {}),
    ],
)
def test_a_text_in_row_1_is_no_title_and_no_unit_where_a_value_stands_beside_it(
    tmp_path: Path, text: str, options: dict[str, Any]
) -> None:
    assert open_text(tmp_path, "rows.csv", text, **options).columns == ("a", "b")


@pytest.mark.parametrize(
    ("cells", "is_vector"),
    [
        (["[0.1, -2e-05]", "[3, 4.5]"], True),
        (["[0.1 0.2 ... 0.5\n 0.6]", "[ 1.  nan]"], True),
        (["(1, 2)", "(3, 4)"], True),
        (["array([1., 2.])", "[1]"], True),
        (["[a, b]", "[c, d]"], False),
        (["(0.5, 1.0]", "(1.0, 1.5]"], False),
        (["[0.1, 0.2]", "x", "y"], False),
    ],
)
def test_vectors_that_are_written_as_text_are_told_with_the_files_that_keep_them(
    tmp_path: Path, cells: list[str], is_vector: bool
) -> None:
    rows = "".join(f'"{cell}",{place}.5\n' for place, cell in enumerate(cells))
    note = select_features([open_text(tmp_path, "rows.csv", f"v,x\n{rows}")]).notes()[1]
    assert ("it looks like vectors; use Parquet or JSON lines" in note) == is_vector
