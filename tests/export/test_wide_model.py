"""A model of many columns: what it is exported without, and how large what travels with it is."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from export import ModelCard, golden_requests, make_card, write_candidate
from export.replay import collect_findings
from kmeans_module import Encoder, NumberColumn, fit
from kmeans_module.contract import COLUMN_SIGNATURES, MOST_COLUMNS, SIGNATURES

EXAMPLES = {"classify", "regress"}


def write(directory: Path, d: int) -> Path:
    rng = np.random.default_rng(d)
    points = (rng.normal(size=(60, d)) + 3 * rng.integers(2, size=(60, 1))).astype(np.float32)
    result = fit(points, 2, n_init=1)
    names = [f"embedding[{index}]" for index in range(d)]
    write_candidate(directory, result, make_card(result, points, feature_names=names), points)
    return directory


@pytest.fixture(scope="module")
def widest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many features as the example signatures take."""
    return write(tmp_path_factory.mktemp("widest") / "1", MOST_COLUMNS)


@pytest.fixture(scope="module")
def wider(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One more."""
    return write(tmp_path_factory.mktemp("wider") / "1", MOST_COLUMNS + 1)


def signatures(version: Path) -> set[str]:
    return set(tf.saved_model.load(str(version)).signatures)


def test_up_to_256_features_there_are_example_signatures_and_above_the_card_says_that_not(
    widest: Path, wider: Path
) -> None:
    assert signatures(widest) == {*SIGNATURES, *EXAMPLES}
    assert ModelCard.read(widest).signatures_left_out == ()
    assert signatures(wider) == set(SIGNATURES)
    assert ModelCard.read(wider).signatures_left_out == ("classify", "regress")
    assert collect_findings(widest) == collect_findings(wider) == []


def test_a_model_of_many_columns_says_that_none_is_taken_by_its_name() -> None:
    encoder = Encoder([NumberColumn(f"n{place}") for place in range(257)])
    module = fit(np.eye(300, 257, dtype=np.float32), 2).module
    assert module.signatures_left_out == ("classify", "regress")
    module.take_columns(encoder)
    assert module.signatures_left_out == ("classify", "regress", *COLUMN_SIGNATURES)


def test_a_card_that_leaves_out_what_the_model_has_is_found(widest: Path) -> None:
    card = ModelCard.read(widest)
    try:
        replace(card, signatures_left_out=("classify", "regress")).write(widest)
        assert collect_findings(widest) == [
            "in a session: the card says that classify and regress are left out, and the model "
            "has them"
        ]
    finally:
        card.write(widest)


def test_the_requests_of_a_wide_model_have_fewer_rows_and_every_kind() -> None:
    d = 2**14
    points = np.random.default_rng(0).normal(size=(100, d)).astype(np.float32)
    result = fit(points, 2, n_init=1, max_iter=2)

    def answer(signature: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        tensors = {name: tf.constant(array) for name, array in inputs.items()}
        found = result.module.signatures[signature](**tensors)
        return {name: tensor.numpy() for name, tensor in found.items()}

    requests = golden_requests.choose(points, 2, answer)
    assert golden_requests.find_missing(requests, 2) == []
    largest = max(len(each.inputs.get("points", ())) for each in requests)
    assert largest <= 2**18 // d + 6  # the bad rows among them
