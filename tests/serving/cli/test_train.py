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
    np.testing.assert_array_equal(rows.fit_points, [[2, 1]])


def test_excluded_columns_and_weights_are_no_features(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("id,a,w,b\n7,1,2,1\n9,2,0.5,3\n8,2,,3\n")
    notes: list[str] = []
    names, rows = RowOptions(exclude="id,b").read([path], notes, weight_column="w")
    assert names == ("a",)
    assert rows.fit_weights is not None
    np.testing.assert_array_equal(rows.fit_weights, [2, 0.5])
    assert notes == [
        "features: 1 numeric column (a)",
        "left out 1 of 3 rows with a missing value (w: 1)",
    ]


def test_a_row_counts_as_often_as_it_weighs_and_the_card_names_the_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weighed, repeated = tmp_path / "weighed.csv", tmp_path / "repeated.csv"
    weighed.write_text("x,w\n0,1\n4,3\n90,2\n99,0\n")
    repeated.write_text("x\n0\n4\n4\n4\n90\n90\n")
    cards = []
    for path, options in ((weighed, ["--weight-column", "w"]), (repeated, [])):
        candidate = tmp_path / path.stem
        command = ["train", str(path), "--clusters", "2", "--candidate", str(candidate), "--json"]
        assert main([*command, *options]) == 0
        card = ModelCard.read(candidate)
        assert json.loads(capsys.readouterr().out)["weight_column"] == card.data.weight_column
        cards.append(card)
    assert [card.data.weight_column for card in cards] == ["w", None]
    assert cards[0].inertia == pytest.approx(cards[1].inertia)
    assert cards[0].inertia == pytest.approx(3 + 9)  # around 3
    assert [card.feature_names for card in cards] == [("x",), ("x",)]


def test_standardized_columns_have_one_spread_and_others_are_told_which_decides(
    tmp_path: Path,
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("age,income\n20,2000\n40,9000\n60,3000\n")
    for options, said in (
        (RowOptions(), True),
        (RowOptions(standardize=True), False),
        (RowOptions(columns="age,income"), True),
    ):
        notes: list[str] = []
        options.read([path], notes)
        assert any("'income' decides the clusters" in note for note in notes) == said


def test_what_is_suspicious_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("1,1700000000,\n20,1700000010,u\n30,1700000030,v\n")
    notes: list[str] = []
    names, _ = RowOptions().read([path], notes)
    assert names == ("1", "1700000000")
    # Held back until the fit has begun, so that a mistake is the only line.
    assert capsys.readouterr().err == ""
    assert notes == [
        "features: 2 numeric columns (1, 1700000000)",
        "left out 1 column ((unnamed): a column without a name)",
        "warning: the names of the columns are numbers; has the file no header?",
        "warning: column '1700000000' loses digits as float32, the dtype of the model: its values "
        "are large and close together; subtract a constant from it",
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
