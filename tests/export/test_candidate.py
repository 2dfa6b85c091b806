"""A candidate is written whole or not at all."""

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from export import (
    CandidateNotWritten,
    InvalidCandidate,
    ModelCard,
    batching,
    golden_requests,
    make_card,
    warmup,
    write_candidate,
)
from kmeans_module import FitResult, fit

from .conftest import FEATURE_NAMES


@pytest.fixture
def write(
    fitted: FitResult, card: ModelCard, points: NDArray[np.float32]
) -> Callable[[Path], None]:
    """Writes the session's fit as a candidate."""
    return lambda directory: write_candidate(directory, fitted, card, points)


def test_a_candidate_has_every_part_of_a_version(candidate: Path, card: ModelCard) -> None:
    files = {str(path.relative_to(candidate)) for path in candidate.rglob("*") if path.is_file()}
    assert files == {
        "saved_model.pb",
        "fingerprint.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
        "assets.extra/tf_serving_warmup_requests",
        "assets.extra/model_card.json",
        "assets.extra/golden_requests.npz",
        "assets.extra/sample_rows.npy",
        "batching_params.pbtxt",
    }
    assert ModelCard.read(candidate) == card


def test_nothing_but_the_candidate_is_left_beside_it(candidate: Path) -> None:
    assert list(candidate.parent.iterdir()) == [candidate]


def test_with_batching_on_the_largest_warmup_record_still_fits(candidate: Path) -> None:
    parameters = (candidate / batching.BATCHING_FILE).read_text()
    values = dict(line.split(" { value: ") for line in parameters.splitlines())
    assert int(values["max_batch_size"].rstrip(" }")) >= max(warmup.BATCH_SIZES)
    assert values["enable_large_batch_splitting"] == "true }"


def test_a_bare_module_is_written_too_and_parents_are_made(
    tmp_path: Path, fitted: FitResult, card: ModelCard, points: NDArray[np.float32]
) -> None:
    directory = tmp_path / "deep" / "er" / "candidate"
    write_candidate(directory, fitted.module, card, points.astype(np.float64))
    centroid = tf.saved_model.load(str(directory)).signatures["decode"](
        cluster_index=tf.constant([1])
    )["centroid"]
    np.testing.assert_allclose(centroid.numpy()[0], fitted.centroids[1], rtol=1e-5)


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_a_place_that_is_taken_is_refused_and_left_alone(
    tmp_path: Path, write: Callable[[Path], None], make: Callable[[Path], None]
) -> None:
    directory = tmp_path / "taken"
    make(directory)
    with pytest.raises(CandidateNotWritten, match="already exists"):
        write(directory)
    assert list(tmp_path.iterdir()) == [directory]


def test_points_of_another_width_are_refused(
    tmp_path: Path, fitted: FitResult, card: ModelCard, points: NDArray[np.float32]
) -> None:
    with pytest.raises(InvalidCandidate, match=r"shape \(600, 2\)"):
        write_candidate(tmp_path / "new", fitted, card, points[:, :2])
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("untrue", "message"),
    [
        ({"standardize": False}, "says standardize False, and the model has True"),
        ({"shift": (0.0, 0.0, 0.0)}, r"says shift \(0.0, 0.0, 0.0\), and the model has \("),
        ({"scale": (1.0, 1.0, 1.0)}, r"says scale \(1.0, 1.0, 1.0\), and the model has \("),
        ({"distance": "cosine"}, "says distance cosine, and the model has euclidean"),
        ({"distance_space": "raw"}, "says distance_space raw, and the model has model: "),
        ({"n_clusters": 5}, "says n_clusters 5, and the model has 4"),
    ],
    ids=str,
)
@pytest.mark.parametrize("is_bare_module", [False, True])
def test_a_card_that_contradicts_the_model_is_refused(
    tmp_path: Path,
    fitted: FitResult,
    card: ModelCard,
    points: NDArray[np.float32],
    untrue: dict[str, Any],
    message: str,
    is_bare_module: bool,
) -> None:
    written = fitted.module if is_bare_module else fitted
    with pytest.raises(InvalidCandidate, match=message) as refused:
        write_candidate(tmp_path / "new", written, replace(card, **untrue), points)
    assert "\n" not in str(refused.value)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "value"),
    [("init", "random"), ("n_init", 7), ("max_iter", 99), ("tol", 0), ("seed", 6)],
)
@pytest.mark.parametrize("is_bare_module", [False, True], ids=["fit", "module"])
def test_a_card_that_contradicts_the_parameters_of_the_fit_is_refused(
    tmp_path: Path,
    fitted: FitResult,
    card: ModelCard,
    points: NDArray[np.float32],
    name: str,
    value: Any,
    is_bare_module: bool,
) -> None:
    untrue = replace(card, parameters=replace(card.parameters, **{name: value}))
    with pytest.raises(InvalidCandidate, match=f"says {name} {value}, and the model has "):
        write_candidate(
            tmp_path / "new", fitted.module if is_bare_module else fitted, untrue, points
        )
    assert not any(tmp_path.iterdir())


def test_a_card_of_a_fit_without_standardisation_cannot_claim_it(
    tmp_path: Path, points: NDArray[np.float32]
) -> None:
    result = fit(points, 3)
    true = make_card(result, points, feature_names=FEATURE_NAMES)
    for written in (result, result.module):
        with pytest.raises(
            InvalidCandidate, match="says standardize True, and the model has False"
        ):
            write_candidate(tmp_path / "new", written, replace(true, standardize=True), points)
    with pytest.raises(InvalidCandidate, match=r"says inertia 0\.0, and the model has "):
        write_candidate(tmp_path / "new", result, replace(true, inertia=0.0), points)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        tf.errors.ResourceExhaustedError(None, None, "No space left on device"),
    ],
)
@pytest.mark.parametrize("part", [warmup, golden_requests, batching])
def test_a_full_disk_is_one_error_and_leaves_nothing(
    tmp_path: Path,
    write: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
    part: Any,
    error: Exception,
) -> None:
    def fail(*_arguments: Any, **_keywords: Any) -> NoReturn:
        raise error

    monkeypatch.setattr(part, "write", fail)
    with pytest.raises(CandidateNotWritten, match="No space left on device") as failed:
        write(tmp_path / "new")
    assert str(failed.value).startswith(str(tmp_path / "new"))
    assert not any(tmp_path.iterdir())


def test_an_interrupt_leaves_nothing(
    tmp_path: Path,
    write: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*_arguments: Any, **_keywords: Any) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(warmup, "write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "new")
    assert not any(tmp_path.iterdir())
