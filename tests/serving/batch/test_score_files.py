"""Scoring files: every row is in the output or among the rejected, in order, in every format."""

import csv
import datetime
import json
import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from serving.batch import assignments, score_files
from serving.batch.errors import BadRow, OutputNotWritten
from serving.batch.job import Format, OnBadRow
from serving.tables import arrow_table, csv_table
from serving.tables.errors import ColumnMismatch, RepeatedInput, UnreadableFile
from tests.serving.tables.row_files import write_csv, write_tfrecord

from .scorers import MODEL, NumpyScorer, expected, job_of, read_output

ROWS: list[list[object]] = [
    ["a", 1, 0.5],
    ["b", "", 1],
    ["c", 9, 0.25],
    ["d", "oops", 1],
    ["e", 1e39, 1],
    ["f", "inf", 1],
    ["g", 1e25, 1],
    ["h", 0.125, 11],
]
GOOD = ["a", "c", "h"]
REJECTED = [
    (2, "x", "is missing"),
    (4, "x", "'oops' is not a number"),
    (5, "x", "1e+39 is more than float32 can hold"),
    (6, "x", "is infinite"),
    (7, None, "is too far from every centroid"),
]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "rows.csv", ["id", "x", "y"], ROWS)


class Overflowing(NumpyScorer):
    """As the real model, it has no distance for a row whose squares overflow float32."""

    def _answer(self, signature: str, points: Any) -> Any:
        with np.errstate(over="ignore"):
            far = np.isinf((np.asarray(points) ** 2).sum(axis=1))
        return super()._answer(signature, np.where(far[:, None], np.float32(np.nan), points))


@pytest.mark.parametrize("form", list(Format))
def test_each_row_is_scored_in_order_or_rejected_with_its_place_and_reason(
    tmp_path: Path, rows: Path, form: Format
) -> None:
    np.save(tmp_path / "more.npy", np.array([[0.5, 9], [np.nan, 1], [8, 1]]))
    output = tmp_path / "out"
    job, tables = job_of([rows], output, form=form, keep=["id"], part_rows=3, score=True)

    summary = score_files(job, tables, Overflowing())

    assert (summary["rows"], summary["scored"], summary["rejected"]) == (8, 3, 5)
    assert summary["parts"] == 3
    found = read_output(output / "scored", form)
    answer = expected([[row[1], row[2]] for row in ROWS if row[0] in GOOD])
    assert found["id"].to_pylist() == GOOD
    assert found["cluster_index"].to_pylist() == answer.cluster_index.tolist()
    np.testing.assert_array_equal(
        np.array(found["distance"].to_pylist(), np.float32), answer.distance
    )
    squared = np.array(found["squared_distance"].to_pylist())
    np.testing.assert_allclose(squared, answer.distance**2, rtol=1e-6)
    rejected = read_output(output / "rejected", form).to_pylist()
    assert {row["file"] for row in rejected} == {str(rows)}
    for row, (number, column, reason) in zip(rejected, REJECTED, strict=True):
        assert (row["row"], row["column"] or None) == (number, column)
        assert row["reason"].startswith(reason)
    assert json.loads((output / "summary.json").read_text()) == summary
    # Nothing is half-written, and nobody holds the folder.
    assert not [path for path in output.rglob("*") if "partial" in path.name]


@pytest.mark.parametrize("form", list(Format))
def test_what_is_written_does_not_depend_on_how_many_batches_are_scored_at_once(
    tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch, form: Format
) -> None:
    monkeypatch.setattr(assignments, "_BATCH_ROWS", 2)
    scorers = [Overflowing(), Overflowing()]
    scorers[1].batches = 2  # type: ignore[attr-defined]
    written: list[dict[str, bytes]] = []
    counted: list[Any] = []
    for number, scorer in enumerate(scorers):
        output = tmp_path / str(number)
        job, tables = job_of([rows], output, form=form, keep=["id"], part_rows=7)
        summary = score_files(job, tables, scorer)
        counted.append({name: summary[name] for name in ("rows", "rejected", "cluster_counts")})
        files = sorted([*output.glob("scored/*"), *output.glob("rejected/*")])
        written.append({str(path.relative_to(output)): path.read_bytes() for path in files})
    assert sorted(scorers[0].sizes) == [1, 1, 2, 2, 2]
    assert sorted(scorers[1].sizes) == [1, 3, 4]
    assert written[0] == written[1]
    assert counted[0] == counted[1]


def test_all_distances_are_a_list_and_in_csv_a_column_for_each_cluster(
    tmp_path: Path, rows: Path
) -> None:
    tables: dict[Format, pa.Table] = {}
    for form in Format:
        job, opened = job_of([rows], tmp_path / form, form=form, all_distances=True, keep=["id"])
        score_files(job, opened, Overflowing())
        tables[form] = read_output(tmp_path / form / "scored", form)
    names = [f"all_distances_{index}" for index in range(3)]
    assert tables[Format.CSV].column_names == ["id", "cluster_index", "distance", *names]
    flat = np.column_stack([tables[Format.CSV][name].to_numpy() for name in names])
    for form in (Format.PARQUET, Format.ARROW, Format.TFRECORD):
        lists = np.array(tables[form]["all_distances"].to_pylist())
        np.testing.assert_allclose(lists, flat, rtol=1e-6)


def test_a_file_without_names_has_its_columns_rejected_by_those_of_the_card(
    tmp_path: Path,
) -> None:
    np.save(tmp_path / "rows.npy", np.array([[0, 1], [2, np.nan]]))
    job, tables = job_of([tmp_path / "rows.npy"], tmp_path / "out")
    score_files(job, tables, NumpyScorer())
    (row,) = pq.read_table(tmp_path / "out" / "rejected").to_pylist()
    assert (row["row"], row["column"]) == (2, "y")


def test_a_file_that_is_given_twice_is_refused_and_scored_by_nobody(tmp_path: Path) -> None:
    rows = write_csv(tmp_path / "rows.csv", ["x", "y"], [[1, 2]])
    (tmp_path / "link.csv").symlink_to(rows)
    with pytest.raises(RepeatedInput, match=r"rows\.csv: is given twice, so"):
        job_of([rows, rows], tmp_path / "out")
    with pytest.raises(RepeatedInput, match=r"rows\.csv: is given twice, also as .*link\.csv"):
        job_of([tmp_path], tmp_path / "out")


def test_the_files_say_which_model_has_answered(tmp_path: Path, rows: Path) -> None:
    for form in (Format.PARQUET, Format.ARROW):
        job, tables = job_of([rows], tmp_path / form, form=form)
        score_files(job, tables, Overflowing())
        (part,) = (tmp_path / form / "scored").iterdir()
        metadata = read_output(part.parent, form).schema.metadata
        assert metadata[b"tfkmeans.model"] == b"customers"
        assert metadata[b"tfkmeans.version"] == b"2"
        assert metadata[b"tfkmeans.sha256"].decode() == MODEL.sha256


def test_the_summary_counts_what_numpy_counts(tmp_path: Path) -> None:
    points = np.random.default_rng(3).uniform(-3, 15, (20_000, 2))
    np.save(tmp_path / "rows.npy", points)
    job, tables = job_of([tmp_path / "rows.npy"], tmp_path / "out", part_rows=7_000)
    summary = score_files(job, tables, NumpyScorer())
    answer = expected(points)
    assert summary["cluster_counts"] == np.bincount(answer.cluster_index).tolist()
    assert summary["model"] == {"name": "customers", "version": 2, "sha256": MODEL.sha256}
    for name, value in summary["distance_quantiles"].items():
        assert value == pytest.approx(np.quantile(answer.distance, float(name)), rel=5e-3)


def test_batches_are_counted_from_the_first_row_of_a_part_whatever_the_file_is_like(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assignments, "_BATCH_ROWS", 4)
    table = pa.table({"x": np.arange(23.0), "y": np.ones(23)})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=5)
    job, tables = job_of([tmp_path / "rows.parquet"], tmp_path / "out", part_rows=10)
    scorer = NumpyScorer()
    score_files(job, tables, scorer, at_a_time=1)
    assert scorer.sizes == [4, 4, 2, 4, 4, 2, 3]


def test_inputs_without_rows_give_a_file_without_rows(tmp_path: Path) -> None:
    empty = write_csv(tmp_path / "rows.csv", ["id", "x", "y"], [])
    job, tables = job_of([empty], tmp_path / "out", keep=["id"])
    summary = score_files(job, tables, NumpyScorer())
    assert (summary["rows"], summary["distance_quantiles"]) == (0, {})
    found = pq.read_table(tmp_path / "out" / "scored")
    assert (found.num_rows, found.column_names) == (0, ["id", "cluster_index", "distance"])


def test_a_limit_holds_over_all_files_whether_their_rows_are_counted_or_not(
    tmp_path: Path,
) -> None:
    inputs = [write_csv(tmp_path / f"{i}.csv", ["x", "y"], [[i, 1]] * 5) for i in range(2)]
    np.save(tmp_path / "2.npy", np.ones((5, 2)))
    inputs.append(tmp_path / "2.npy")
    for limit, rows in ((3, [3]), (5, [5]), (12, [5, 5, 2]), (99, [5, 5, 5])):
        job, tables = job_of(inputs, tmp_path / f"out{limit}", limit=limit, part_rows=5)
        assert score_files(job, tables, NumpyScorer())["rows"] == sum(rows)
        parts = sorted((tmp_path / f"out{limit}" / "scored").iterdir())
        # The end of a file of five rows is seen only by looking for a sixth.
        assert [pq.read_metadata(part).num_rows for part in parts] == rows


@pytest.mark.parametrize("bad", ["first", "last"])
def test_the_first_bad_row_ends_a_job_that_is_to_fail_and_finished_parts_stay(
    tmp_path: Path, bad: str
) -> None:
    lines: list[list[object]] = [[1, 2]] * 10
    lines[0 if bad == "first" else 9] = ["x", 1]
    rows = write_csv(tmp_path / "rows.csv", ["x", "y"], lines)
    wishes = {"part_rows": 4, "keep": ["x"]}
    job, tables = job_of([rows], tmp_path / "out", on_bad_row=OnBadRow.FAIL, **wishes)
    where = "row 1 (line 2)" if bad == "first" else "row 10 (line 11)"
    with pytest.raises(BadRow) as caught:
        score_files(job, tables, NumpyScorer())
    assert str(caught.value).startswith(f"{rows}: {where}, column 'x': 'x' is not a number; ")
    for flag in ("--on-bad-row reject", "new job (--overwrite)"):
        assert flag in str(caught.value)
    assert len(list((tmp_path / "out" / "scored").iterdir())) == (0 if bad == "first" else 2)
    # With the other flag it goes on where it stopped.
    job, tables = job_of([rows], tmp_path / "out", **wishes)
    scorer = NumpyScorer()
    assert score_files(job, tables, scorer)["rejected"] == 1
    assert sum(scorer.sizes) == (10 if bad == "first" else 2)


def test_columns_to_keep_keep_their_types(tmp_path: Path) -> None:
    day = datetime.date(2026, 1, 31)
    table = pa.table(
        {
            "id": pa.array([7, None], pa.int64()),
            "x": [1.0, 2.0],
            "region": pa.array(["north", "south"]).dictionary_encode(),
            "y": [3.0, 4.0],
            "day": [day, day],
            "tags": [["a"], []],
            "code": pa.array([1, 2**63], pa.uint64()),
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    keep = ["tags", "id", "day", "region", "y", "code"]
    job, tables = job_of([tmp_path / "rows.parquet"], tmp_path / "out", keep=keep)
    score_files(job, tables, NumpyScorer())
    found = pq.read_table(tmp_path / "out" / "scored").select(keep)
    assert found.to_pylist() == table.select(keep).to_pylist()
    assert str(found.schema.field("region").type) == "string"
    with pytest.raises(ColumnMismatch, match=r"--keep tags: holds list.*rows\.parquet, which csv"):
        job_of([tmp_path / "rows.parquet"], tmp_path / "csv", keep=["tags"], form=Format.CSV)
    with pytest.raises(ColumnMismatch, match=r"--keep day: holds date32.*in /.*, which tfrecord"):
        job_of([tmp_path / "rows.parquet"], tmp_path / "tf", keep=["day"], form=Format.TFRECORD)
    with pytest.raises(ColumnMismatch, match=r"--keep code: holds uint64 in .*which tfrecord"):
        job_of([tmp_path / "rows.parquet"], tmp_path / "tf", keep=["code"], form=Format.TFRECORD)


def test_columns_to_keep_are_as_wide_as_in_the_widest_of_the_files(tmp_path: Path) -> None:
    parts = [
        pa.table({"id": pa.array([1], pa.int32()), "x": [1.0], "y": [2.0], "note": pa.nulls(1)}),
        pa.table({"id": pa.array([2**40]), "x": pa.nulls(1), "y": [2.0], "note": ["late"]}),
        pa.table({"id": [0.5], "x": pa.array([3], pa.int8()), "y": [2.0], "note": pa.nulls(1)}),
    ]
    for number, part in enumerate(parts):
        (tmp_path / "in").mkdir(exist_ok=True)
        pq.write_table(part, tmp_path / "in" / f"{number}.parquet")
    job, tables = job_of([tmp_path / "in"], tmp_path / "out", keep=["id", "note"])
    summary = score_files(job, tables, NumpyScorer())
    # Of the null column, the row is rejected as one with a missing value.
    assert (summary["scored"], summary["rejected"]) == (2, 1)
    files = sorted((tmp_path / "out" / "scored").iterdir())
    schemas = {pq.read_schema(path) for path in files}
    assert [str(each) for each in schemas.pop().types[:2]] == ["double", "string"]
    assert not schemas
    found = pa.concat_tables([pq.read_table(path) for path in files])
    assert found.select(["id", "note"]).to_pylist() == [
        {"id": 1.0, "note": None},
        {"id": 0.5, "note": None},
    ]

    big = pa.table({"id": [2**53 + 1], "x": [1.0], "y": [2.0], "note": ["big"]})
    pq.write_table(big, tmp_path / "in" / "3.parquet")
    job, tables = job_of([tmp_path / "in"], tmp_path / "big", keep=["id"])
    with pytest.raises(ColumnMismatch, match=r"--keep id: is int64 in one file and double in"):
        score_files(job, tables, NumpyScorer())


def test_text_to_keep_is_what_stands_in_the_csv_file(tmp_path: Path) -> None:
    texts = ["007", "NA", 'with, "quotes"', "", "line\nend", "größe"]
    lines = [[text, 1, "oops" if i == 4 else 2] for i, text in enumerate(texts)]
    rows = write_csv(tmp_path / "rows.csv", ["id", "x", "y"], lines)
    job, tables = job_of([rows], tmp_path / "out", keep=["id", "x"], form=Format.CSV)
    score_files(job, tables, NumpyScorer())
    (part,) = (tmp_path / "out" / "scored").iterdir()
    with part.open(newline="") as file:
        found = list(csv.DictReader(file))
    del texts[4]
    assert [row["id"] for row in found] == texts
    assert [row["x"] for row in found] == ["1"] * 5


def test_all_columns_are_kept_but_those_without_a_name_and_those_of_answers(tmp_path: Path) -> None:
    header = ["id", "x", "", "distance", "y", "note"]
    lines = [["007", "1.50", "?", 3, 2, "NA"], ["008", "", "?", 4, 2, ""]]
    rows = write_csv(tmp_path / "rows.csv", header, lines)

    job, tables = job_of([rows], tmp_path / "out", keep=["*"])

    assert job.keep == ("id", "x", "y", "note")
    score_files(job, tables, NumpyScorer())
    (found,) = read_output(tmp_path / "out" / "scored", Format.PARQUET).to_pylist()
    assert found.pop("cluster_index") in range(3)
    assert found.pop("distance") != 3
    assert found == {"id": "007", "x": "1.50", "y": "2", "note": "NA"}


def test_all_columns_are_those_of_every_file(tmp_path: Path) -> None:
    rows = write_csv(tmp_path / "1.csv", ["x", "y", "id"], [[1, 2, 3]])
    more = write_csv(tmp_path / "2.csv", ["y", "x"], [[1, 2]])
    for order in ([rows, more], [more, rows]):
        with pytest.raises(ColumnMismatch, match=r"--keep \*: .*2\.csv: no column 'id'.*name col"):
            job_of(order, tmp_path / "out", keep=["*"])


@pytest.mark.parametrize("name", ["rows.csv", "torn.csv", "rows.tfrecord"])
def test_text_to_keep_that_is_not_utf8_rejects_its_row_alone(tmp_path: Path, name: str) -> None:
    ids = [b"a", "J\u00f6rg".encode("latin-1"), "größe".encode(), b"\xff" * 99]
    rejected: list[tuple[int, str | None, str | None]]
    rejected = [(2, "id", "b'J\\xf6rg' is not UTF-8; write text in UTF-8"), (4, "id", None)]
    path = tmp_path / name
    if name == "rows.tfrecord":
        write_tfrecord(path, [{"id": each, "x": 1.0, "y": 2.0} for each in ids])
    else:
        lines = [each + b",1,2" for each in ids]
        if name == "torn.csv":
            # What makes the file read the careful way: a row before, and one that has it as well.
            lines[0] += b",3"
            lines[3] = lines[3].replace(b",1,", b",oops,")
            rejected = [(1, None, None), rejected[0], (4, "x", "'oops' is not a number; ")]
        path.write_bytes(b"\n".join([b"id,x,y", *lines]))
    job, tables = job_of([path], tmp_path / "out", keep=["id"])
    score_files(job, tables, NumpyScorer())
    good = ["größe"] if name == "torn.csv" else ["a", "größe"]
    assert pq.read_table(tmp_path / "out" / "scored")["id"].to_pylist() == good
    found = pq.read_table(tmp_path / "out" / "rejected").to_pylist()
    for row, (number, column, reason) in zip(found, rejected, strict=True):
        assert (row["row"], row["column"]) == (number, column)
        assert row["reason"].startswith(reason or "")
        assert len(row["reason"]) < 300
    if name == "rows.csv":
        job, tables = job_of([path], tmp_path / "fail", keep=["id"], on_bad_row=OnBadRow.FAIL)
        with pytest.raises(BadRow, match=r"row 2 \(line 3\), column 'id': b'J\\xf6rg' is not UTF"):
            score_files(job, tables, NumpyScorer())


def test_a_column_that_would_be_there_twice_or_has_two_types_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1.0], "y": [1.0], "distance": [1]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"x": [1.0], "y": [1.0], "distance": ["1"]}), tmp_path / "2.parquet")
    with pytest.raises(ColumnMismatch, match="--keep distance: the output already has a column"):
        job_of([tmp_path / "1.parquet"], tmp_path / "out", keep=["distance"])
    with pytest.raises(ColumnMismatch, match=r"2\.parquet: column 'distance' holds string, and in"):
        job_of([tmp_path / "1.parquet", tmp_path / "2.parquet"], tmp_path / "o", keep=["distance"])


@pytest.mark.parametrize("form", list(Format))
def test_a_disk_that_takes_no_more_is_one_error_and_finished_parts_stay(
    tmp_path: Path, form: Format
) -> None:
    points = np.random.default_rng(1).normal(size=(60_000, 2)).astype(np.float32)
    points[50_000:] = np.nan
    np.save(tmp_path / "rows.npy", points)
    wishes = {"form": form, "part_rows": 20_000}
    job, tables = job_of([tmp_path / "rows.npy"], tmp_path / "out", **wishes)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    try:
        with pytest.raises(
            OutputNotWritten, match=r"00000\.\w+: cannot be written: File too large"
        ):
            score_files(job, tables, NumpyScorer())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "out" / "scored").iterdir()) == []
    scorer = NumpyScorer()
    assert score_files(job, tables, scorer)["scored"] == 50_000
    assert sum(scorer.sizes) == 60_000


def test_a_file_that_is_damaged_in_its_middle_is_named_and_finished_parts_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow_table, "_BLOCK_NUMBERS", 2 * 5_000)
    table = pa.table({"x": np.arange(40_000.0), "y": np.random.default_rng(0).random(40_000)})
    path = tmp_path / "rows.parquet"
    pq.write_table(table, path, row_group_size=5_000, compression="zstd")
    whole = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(7).column(1).data_page_offset
    whole[start : start + 2_000] = bytes(2_000)
    path.write_bytes(whole)
    job, tables = job_of([path], tmp_path / "out", part_rows=5_000)
    with pytest.raises(UnreadableFile, match=r"rows\.parquet: cannot be read as Parquet: "):
        score_files(job, tables, NumpyScorer(), at_a_time=1)
    assert len(list((tmp_path / "out" / "scored").iterdir())) >= 1
    assert not (tmp_path / "out" / "summary.json").exists()


def test_a_quote_that_is_not_closed_ends_the_job_and_finished_parts_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_table, "_BLOCK_BYTES", 256)
    rows = [f"{i},{i},{i}" for i in range(3_000)]
    rows[2_900] = '"2900,1,1'
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["id,x,y", *rows]))
    job, tables = job_of([path], tmp_path / "out", part_rows=100, keep=["id"])
    with pytest.raises(UnreadableFile, match=r"row 2901 \(after line 2901\): .*quote not closed\?"):
        score_files(job, tables, NumpyScorer())
    found = pq.read_table(tmp_path / "out" / "scored")["id"].to_pylist()
    assert found == [str(i) for i in range(len(found))]
    assert 0 < len(found) <= 2_900
    assert not (tmp_path / "out" / "summary.json").exists()


def test_a_missing_column_or_another_type_is_found_before_any_row_is_scored(
    tmp_path: Path,
) -> None:
    good = write_csv(tmp_path / "1.csv", ["x", "y"], [[1, 2]])
    lacking = write_csv(tmp_path / "2.csv", ["x", "z"], [[1, 2]])
    text = write_csv(tmp_path / "3.csv", ["x", "y"], [["NA", 1], ["red", 1], ["blue", 2]])
    with pytest.raises(ColumnMismatch, match=r"2\.csv: no column 'y'"):
        job_of([good, lacking], tmp_path / "out")
    with pytest.raises(ColumnMismatch, match=r"3\.csv: column 'x' holds text \('red'\)"):
        job_of([good, text], tmp_path / "out")
    with pytest.raises(ColumnMismatch, match=r"1\.csv: no column 'id'"):
        job_of([good], tmp_path / "out", keep=["id"])
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_is_named(tmp_path: Path) -> None:
    rows = write_csv(tmp_path / "rows.csv", ["x", "y"], [[1, 2]])
    for output, words in (
        (rows, "is a file; give a folder"),
        (rows / "below", "cannot be written: Not a directory"),
        (tmp_path, "contains the input"),
    ):
        with pytest.raises(OutputNotWritten, match=words):
            score_files(*job_of([rows], output), NumpyScorer())
    full = tmp_path / "full"
    full.mkdir()
    (full / "letter.txt").touch()
    with pytest.raises(
        OutputNotWritten, match=r"is not empty, and is not a batch-score job \(letter"
    ):
        score_files(*job_of([rows], full), NumpyScorer(), overwrite=True)
    assert os.listdir(full) == ["letter.txt"]
