"""The model card as a file."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from export import InvalidCandidate, ModelCard
from export.model_card import CARD_FILE, FORMAT


def test_a_card_comes_back_as_it_was_written(plain_card: ModelCard, tmp_path: Path) -> None:
    plain_card.write(tmp_path)
    assert ModelCard.read(tmp_path) == plain_card


def test_the_file_is_strict_json_and_begins_with_its_format(
    plain_card: ModelCard, tmp_path: Path
) -> None:
    plain_card.write(tmp_path)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    values = json.loads((tmp_path / CARD_FILE).read_text("utf-8"), parse_constant=refuse)
    assert next(iter(values)) == "format"
    assert values["feature_names"] == ["höhe", "breite"]
    assert values["data"]["rows_left_out"] == 2
    assert values["history"][1] == {"inertia": 7.25, "shift": 0.0}
    assert values["clusters"][1] == {"index": 1, "size": 0, "share": 0.0, "distance_quantiles": {}}


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_has_not_is_refused_when_written(
    plain_card: ModelCard, number: float
) -> None:
    with pytest.raises(InvalidCandidate, match="not finite") as refused:
        dataclasses.replace(plain_card, inertia=number).to_json()
    assert "\n" not in str(refused.value)


def test_an_unknown_field_of_a_later_writer_is_passed_over(plain_card: ModelCard) -> None:
    values = json.loads(plain_card.to_json())
    values["hashes"] = {"saved_model.pb": "00"}
    assert ModelCard.from_json(json.dumps(values)) == plain_card


def _with(**changes: Any) -> Any:
    return lambda values: values | changes


def _without(name: str) -> Any:
    return lambda values: {key: value for key, value in values.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("n_clusters"), "the card lacks 'n_clusters'"),
        (_with(n_clusters="two"), 'n_clusters should be int, and is "two"'),
        (_with(n_clusters=True), "n_clusters should be int, and is true"),
        (_with(n_clusters=None), "n_clusters should be int, and is null"),
        (_with(feature_names=["a", 1]), r"feature_names\[1\] should be str, and is 1"),
        (_with(data={"files": []}), "data lacks 'fingerprint'"),
        (_with(distance_quantiles={"0.5": "far"}), r"distance_quantiles\['0.5'\] should be float"),
        (_with(inertia=float("nan")), "NaN is no JSON number"),
        (_with(format=FORMAT + 1), "update tfkmeans"),
        (lambda _values: [], r"the card should be ModelCard, and is \[\]"),
    ],
)
def test_a_corrupt_card_is_one_line_that_names_the_file_and_the_field(
    plain_card: ModelCard, tmp_path: Path, change: Any, message: str
) -> None:
    plain_card.write(tmp_path)
    path = tmp_path / CARD_FILE
    path.write_text(json.dumps(change(json.loads(path.read_text("utf-8")))), "utf-8")
    with pytest.raises(InvalidCandidate, match=message) as refused:
        ModelCard.read(tmp_path)
    assert str(refused.value).startswith(str(path))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_a_card_that_is_no_json_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / CARD_FILE
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(InvalidCandidate, match=r"not JSON|cannot be read") as refused:
        ModelCard.read(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_directory_without_a_card_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidCandidate, match=f"{tmp_path}: no model card"):
        ModelCard.read(tmp_path)
