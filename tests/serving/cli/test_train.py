"""What ``train`` decides before and after the fit."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest

from export import ModelCard, publishing
from export.errors import PublishRefused
from serving.cli import main
from serving.cli.training_input import RowOptions


def n_init_of(
    rows: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], *options: str
) -> object:
    """The starts that a fit of so many rows makes, as the card of its candidate has them."""
    np.save(tmp_path / "rows.npy", np.arange(rows, dtype=np.float32)[:, None] % 2)
    candidate = tmp_path / f"{rows}{''.join(options)}"
    command = ["train", str(tmp_path / "rows.npy"), "--candidate", str(candidate), "--json"]
    assert main([*command, "--clusters", "2", "--max-iter", "1", *options]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["n_init"] == ModelCard.read(candidate).parameters.n_init
    return said["n_init"]


def test_ten_starts_up_to_100000_rows_and_one_above_unless_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert n_init_of(100_000, tmp_path, capsys) == 10
    assert n_init_of(100_001, tmp_path, capsys) == 1
    assert n_init_of(100_001, tmp_path, capsys, "--n-init", "4") == 4


def test_columns_are_taken_by_name_and_in_the_order_given(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('"a,b",c,d\n1,2,x\n')
    names, rows = RowOptions(columns=' c , "a,b"').read([path], [])
    assert names == ("c", "a,b")
    np.testing.assert_array_equal(rows.points, [[2, 1]])


def test_what_is_suspicious_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("1,1700000000,\n2,1700000010,5\n3,1700000030,5\n")
    notes: list[str] = []
    names, _ = RowOptions().read([path], notes)
    assert names == ("1", "1700000000")
    # Held back until the fit has begun, so that a mistake is the only line.
    assert capsys.readouterr().err == ""
    assert notes == [
        "took 2 numeric columns: 1, 1700000000",
        "left out 1 column ((unnamed): a column without a name)",
        "warning: the names of the columns are numbers; has the file no header?",
        "warning: column '1700000000' loses digits as float32, which the model takes: its values "
        "are large and lie close together; subtract a constant from it",
    ]


@pytest.mark.parametrize(
    ("outcome", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (PublishRefused("new: refused: 3 rows differ"), 3, "error: new: refused: 3 rows differ"),
    ],
    ids=["Ctrl-C", "refused"],
)
def test_whatever_becomes_of_the_publishing_nothing_of_it_is_left(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    outcome: BaseException,
    code: int,
    said: str,
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    base = tmp_path / "new"

    def validate(version: Path, **_options: object) -> None:
        assert (version / "saved_model.pb").is_file()
        assert version.is_relative_to(base)
        raise outcome

    monkeypatch.setattr(publishing, "validate", validate)
    np.save(tmp_path / "rows.npy", np.arange(6.0).reshape(3, 2))
    command = ["train", str(tmp_path / "rows.npy"), "--model", str(base)]

    assert main([*command, "--clusters", "2"]) == code

    # TensorFlow's own scratch files go when the process ends.
    assert list(scratch.glob("tfkmeans-*")) == []
    assert [entry.name for entry in base.iterdir()] == [".publish.lock"]
    assert capfd.readouterr().err.splitlines()[-1] == said
