"""Which files are read: what files, folders and globs stand for, and what cannot be opened."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.tables.errors import TableError, UnreadableFile
from serving.tables.input_files import input_files, open_table

from .row_files import write_csv


def test_folders_and_globs_stand_for_their_files_in_a_fixed_order(tmp_path: Path) -> None:
    (tmp_path / "in" / "2026").mkdir(parents=True)
    (tmp_path / "in" / "_temporary").mkdir()
    names = ["b.csv", "2026/c.parquet", "a.npy", "_temporary/d.csv", ".e.csv", "_SUCCESS", "f.txt"]
    for name in names:
        (tmp_path / "in" / name).touch()

    def found(*given: str) -> list[str]:
        files = input_files([tmp_path / "in" / name for name in given])
        return [str(path.relative_to(tmp_path / "in")) for path in files]

    assert found("") == ["2026/c.parquet", "a.npy", "b.csv"]
    assert found("b.csv", "2026") == ["b.csv", "2026/c.parquet"]
    assert found("*.csv", "**/*.parquet") == ["b.csv", "2026/c.parquet"]
    assert input_files([Path("-")]) == [Path("-")]
    with pytest.raises(UnreadableFile, match="no file matches"):
        found("*.json")
    (tmp_path / "empty").mkdir()
    listed = r"is a folder without a supported file \(.*\.arrow, .*\.arrows\)"
    with pytest.raises(UnreadableFile, match=listed):
        input_files([tmp_path / "empty"])
    # A text is read where it is named.
    assert found("*.txt") == ["f.txt"]
    (tmp_path / "empty" / "README.txt").touch()
    with pytest.raises(UnreadableFile, match=r"\.arrows\); for text files give .*/empty/\*\.txt"):
        input_files([tmp_path / "empty"])
    # A file whose name looks like a glob is that file.
    (tmp_path / "in" / "[x].csv").touch()
    assert found("[x].csv") == ["[x].csv"]


def test_an_output_that_lies_among_the_inputs_is_none_of_them(tmp_path: Path) -> None:
    output = tmp_path / "in" / "out"
    (output / "scored").mkdir(parents=True)
    (tmp_path / "in" / "a.csv").touch()
    (output / "scored" / "part-00000-00000.csv").touch()

    for name in ("in", "in/*", "in/**/*.csv", "in/a.csv"):
        assert input_files([tmp_path / name], output) == [tmp_path / "in" / "a.csv"], name
    # Given by itself it stays, for the job to refuse.
    assert len(input_files([output / "scored"], output)) == 1


def test_the_kind_of_a_file_is_told_by_its_extension_in_any_case(tmp_path: Path) -> None:
    write_csv(tmp_path / "rows.CSV", ["a"], [[1]])
    np.save(tmp_path / "rows.npy", np.ones((1, 1)))
    pq.write_table(pa.table({"a": [1]}), tmp_path / "rows.parquet")
    assert [
        type(open_table(tmp_path / f"rows.{kind}")).__name__ for kind in ("CSV", "npy", "parquet")
    ] == ["CsvTable", "NpyTable", "ParquetTable"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing.csv", "no such file"),
        ("folder.csv", "is a folder"),
        ("empty.csv", "is empty"),
        ("empty.parquet", "is empty"),
        ("rows.xlsx", "'.xlsx' is not supported; give one of .csv, .csv.gz, .tsv,"),
        ("rows", "'' is not supported"),
    ],
)
def test_what_cannot_be_opened_is_named_with_the_mend(
    tmp_path: Path, name: str, words: str
) -> None:
    (tmp_path / "folder.csv").mkdir()
    for file in ("empty.csv", "empty.parquet"):
        (tmp_path / file).touch()
    for file in ("rows.xlsx", "rows"):
        (tmp_path / file).write_bytes(b"PK")
    with pytest.raises(TableError) as caught:
        open_table(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert words in str(caught.value)
