"""The model card as a file."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export import InvalidCandidate, ModelCard
from export.model_card import CARD_FILE, FORMAT_WITH_ENCODER, ClusterProfile, is_unchanged


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


def test_of_65536_clusters_the_card_has_the_sizes_and_stays_below_a_megabyte(
    plain_card: ModelCard, tmp_path: Path
) -> None:
    sizes = np.random.default_rng(0).poisson(1000, 2**16)
    clusters = tuple(
        ClusterProfile(index, int(size), int(size) / int(sizes.sum()), {})
        for index, size in enumerate(sizes)
    )
    names = tuple(f"feature_{number}" for number in range(128))
    card = dataclasses.replace(
        plain_card,
        n_clusters=2**16,
        n_features=128,
        feature_names=names,
        shift=tuple(np.linspace(0.1, 7, 128).tolist()),
        scale=tuple(np.linspace(0.1, 7, 128).tolist()),
        history=plain_card.history * 150,
        clusters=clusters,
    )
    card.write(tmp_path)
    assert (tmp_path / CARD_FILE).stat().st_size < 1_000_000
    assert ModelCard.read(tmp_path) == card
    assert is_unchanged((tmp_path / CARD_FILE).read_bytes())


@pytest.mark.parametrize("clusters", [4096, 4097])
def test_above_4096_clusters_the_quantiles_of_each_leave_the_card(
    plain_card: ModelCard, clusters: int
) -> None:
    quantiles = plain_card.distance_quantiles
    profiles = tuple(
        ClusterProfile(index, 2, 2 / (2 * clusters), quantiles) for index in range(clusters)
    )
    again = ModelCard.from_json(dataclasses.replace(plain_card, clusters=profiles).to_json())
    assert [each.size for each in again.clusters] == [2] * clusters
    assert [each.share for each in again.clusters] == [each.share for each in profiles]
    kept = quantiles if clusters == 4096 else {}
    assert again.clusters[-1].distance_quantiles == kept


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
        (_with(n_clusters="two"), 'n_clusters should be a whole number, and is "two"'),
        (_with(n_clusters=True), "n_clusters should be a whole number, and is true"),
        (_with(n_clusters=None), "n_clusters should be a whole number, and is null"),
        (
            _with(n_clusters=-1),
            "n_clusters is -1; it must be at least 1; restore the exported card",
        ),
        (_with(clusters=None), "clusters should be a list, and is null"),
        (_with(feature_names=["a", 1]), r"feature_names\[1\] should be a text, and is 1"),
        (_with(data={"files": []}), "data lacks 'fingerprint'"),
        (
            _with(distance_quantiles={"0.5": "far"}),
            r"distance_quantiles\['0.5'\] should be a number",
        ),
        (_with(distance_quantiles={"0.5": 1.0}), "distance_quantiles lack one of 0, 0.25, 0.5,"),
        (_with(inertia=float("nan")), "NaN is not a JSON number"),
        (_with(cluster_sizes=[1, "2"]), r"cluster_sizes\[1\] should be a whole number"),
        (_with(cluster_sizes={}), "cluster_sizes should be a list, and is {}; restore the"),
        (_with(format=FORMAT_WITH_ENCODER + 1), "update tfkmeans"),
        (lambda _values: [], r"the card should be an object, and is \[\]"),
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


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 10**6, b'{"a":' * 10**5])
def test_a_card_that_is_no_json_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / CARD_FILE
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(InvalidCandidate, match=r"not JSON|cannot be read") as refused:
        ModelCard.read(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_number_of_too_many_digits_is_told_without_pythons_settings() -> None:
    with pytest.raises(InvalidCandidate, match=r"it holds a number of 5,000 digits; restore the"):
        ModelCard.from_json('{"n_clusters": ' + "1" * 5000 + "}")


def test_a_directory_without_a_card_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidCandidate, match=f"{tmp_path}: no model card"):
        ModelCard.read(tmp_path)
