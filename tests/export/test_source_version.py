"""The version of a fit of a source, beside that of the same rows in memory."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from export import (
    InvalidCandidate,
    ModelCard,
    file_hashes,
    golden_requests,
    make_card,
    publish_fit,
    row_measures,
    sample_rows,
    warmup,
    write_candidate,
)
from export.comparison import NotCompared
from export.replay import collect_findings, measure
from export.validation import validate
from kmeans_module import FitResult, RowSource, fit
from kmeans_module.column_training import encode_arrays, fit_encoder

from .conftest import FEATURE_NAMES, PARAMETERS

SAMPLE = PARAMETERS | {"seeding": "sample", "sample_rows": 400}


@pytest.fixture(scope="module")
def rows() -> NDArray[np.float32]:
    """So many that a sample of them travels: 9,000 of three unequal clouds."""
    rng = np.random.default_rng(8)
    centers = np.array([[0, 0, 0], [9, 0, 0], [0, 9, 4.0]])
    index = rng.choice(3, 9_000, p=[0.6, 0.3, 0.1])
    return (centers[index] + rng.normal(size=(9_000, 3))).astype(np.float32)


@pytest.fixture(scope="module")
def weight() -> NDArray[np.float32]:
    return np.random.default_rng(9).integers(0, 4, 9_000).astype(np.float32)


@pytest.fixture(scope="module")
def streamed(rows: NDArray[np.float32], weight: NDArray[np.float32]) -> FitResult:
    return fit(RowSource.from_array(rows, weight), 3, **SAMPLE)


@pytest.fixture
def source(rows: NDArray[np.float32], weight: NDArray[np.float32]) -> RowSource:
    return RowSource.from_array(rows, weight)


def test_the_card_is_that_of_the_rows_in_memory(
    rows: NDArray[np.float32],
    weight: NDArray[np.float32],
    streamed: FitResult,
    source: RowSource,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = fit(rows, 3, sample_weight=weight, **SAMPLE)
    names: dict[str, Any] = {"feature_names": FEATURE_NAMES, "silhouette_rows": 1_500}
    in_memory = make_card(kept, rows, **names)
    monkeypatch.setattr(row_measures, "_BLOCK_NUMBERS", 3 * 700)
    card = make_card(streamed, source, **names)

    for one, other in zip(card.clusters, in_memory.clusters, strict=True):
        assert (one.index, one.size, one.share) == (other.index, other.size, other.share)
        assert one.distance_quantiles == pytest.approx(other.distance_quantiles, rel=2e-3)
    assert card.distance_quantiles == pytest.approx(in_memory.distance_quantiles, rel=2e-3)
    assert card.silhouette.kind == "silhouette within a uniform sample"
    assert card.silhouette.rows == 1_500
    assert in_memory.silhouette.kind == "silhouette"
    assert card.silhouette.standard_error is not None
    assert in_memory.silhouette.value is not None
    error = 5 * card.silhouette.standard_error
    assert card.silhouette.value == pytest.approx(in_memory.silhouette.value, abs=error)

    own = {
        "created": card.created,
        "clusters": card.clusters,
        "distance_quantiles": card.distance_quantiles,
        "silhouette": card.silhouette,
    }
    assert dataclasses.replace(in_memory, **own) == card  # type: ignore[arg-type]
    assert ModelCard.from_json(card.to_json()) == card


def test_few_rows_of_a_source_have_the_silhouette_of_all(
    points: NDArray[np.float32],
) -> None:
    source = RowSource.from_array(points)
    cards = [
        make_card(fit(given, 4, **SAMPLE), given, feature_names=FEATURE_NAMES)
        for given in (source, points)
    ]
    assert cards[0].silhouette == cards[1].silhouette


def test_a_source_of_other_rows_is_refused(
    streamed: FitResult, rows: NDArray[np.float32], source: RowSource
) -> None:
    unweighted = RowSource.from_array(rows)
    with pytest.raises(InvalidCandidate, match=r"the model finds an inertia of .* instead of"):
        make_card(streamed, unweighted, feature_names=FEATURE_NAMES)
    narrow = RowSource.from_array(rows[:, :2])
    with pytest.raises(InvalidCandidate, match=r"shape \(9000, 2\), and the fit is of \(9000, 3\)"):
        make_card(streamed, narrow, feature_names=FEATURE_NAMES)
    with pytest.raises(InvalidCandidate, match="points have type ndarray, and the fit used a Row"):
        make_card(streamed, rows, feature_names=FEATURE_NAMES)
    with pytest.raises(InvalidCandidate, match=r"a source has no names; .* a list of 3"):
        publish_fit(streamed, source, "models/none")


def test_a_row_that_the_model_does_not_answer_is_named(rows: NDArray[np.float32]) -> None:
    far = rows.astype(np.float64)
    far[5_432] = 1e300
    weight = np.ones(len(far))
    weight[5_432] = 0
    given = RowSource.from_array(far, weight)
    fitted = fit(given, 3, **SAMPLE | {"standardize": False})
    with pytest.raises(InvalidCandidate, match="row 5432, which the model does not answer"):
        make_card(fitted, given, feature_names=FEATURE_NAMES)


def test_a_source_is_published_with_a_sample_of_its_rows(
    streamed: FitResult, source: RowSource, rows: NDArray[np.float32], tmp_path: Path
) -> None:
    version = publish_fit(streamed, source, tmp_path / "blobs", feature_names=FEATURE_NAMES)
    sample = sample_rows.read(Path(version.directory))
    assert sample.shape == (4_096, 3)
    places = {row.tobytes(): place for place, row in enumerate(rows)}
    found = [places[row.tobytes()] for row in sample]
    assert found == sorted(set(found))
    expected = streamed.module.assign(rows[:100])["cluster_index"].numpy()
    np.testing.assert_array_equal(version.assign(rows[:100]).cluster_index, expected)


@pytest.fixture(scope="module")
def without_rows(
    tmp_path_factory: pytest.TempPathFactory,
    streamed: FitResult,
    rows: NDArray[np.float32],
    weight: NDArray[np.float32],
) -> Path:
    """A candidate with which no row travels."""
    source = RowSource.from_array(rows, weight)
    card = make_card(streamed, source, feature_names=FEATURE_NAMES)
    directory = tmp_path_factory.mktemp("private") / "1"
    write_candidate(directory, streamed, card, source, sample_rows=False)
    return directory


def test_no_row_travels_where_rows_are_left_out(
    without_rows: Path, rows: NDArray[np.float32]
) -> None:
    assert not (without_rows / sample_rows.SAMPLE_FILE).exists()
    assert file_hashes.find_changes(without_rows) == []
    assert collect_findings(without_rows) == []
    requests = golden_requests.read(without_rows)
    assert golden_requests.find_missing(requests, 3) == []
    asked = [r.inputs["points"].reshape(-1, 3) for r in requests if "points" in r.inputs]
    asked += [
        np.frombuffer(record.predict_log.request.inputs["points"].tensor_content, "<f4")
        for record in warmup.read(without_rows)
    ]
    own = {row.tobytes() for row in rows}
    travelling = [row.tobytes() for each in asked for row in each.reshape(-1, 3)]
    assert len(travelling) > 1_000
    assert own.isdisjoint(travelling)


@pytest.mark.parametrize("live_has_rows", [True, False])
def test_the_gate_compares_on_the_rows_that_there_are_or_says_that_there_are_none(
    without_rows: Path,
    streamed: FitResult,
    source: RowSource,
    tmp_path: Path,
    *,
    live_has_rows: bool,
) -> None:
    live = tmp_path / "1"
    card = make_card(streamed, source, feature_names=FEATURE_NAMES)
    write_candidate(live, streamed, card, source, sample_rows=live_has_rows)
    found = measure(without_rows, live)
    if live_has_rows:
        assert (found["comparison"]["rows"], found["comparison"]["rows_kept"]) == (4_096, 1.0)
    else:
        assert found["not_compared"].startswith("inertia, kept rows and shares were not compared")


def test_rows_that_are_missing_but_were_written_are_not_taken_for_left_out(
    without_rows: Path, candidate: Path, tmp_path: Path
) -> None:
    spoiled = Path(shutil.copytree(candidate, tmp_path / "2"))
    (spoiled / sample_rows.SAMPLE_FILE).unlink()
    found = measure(spoiled, without_rows)
    assert "no rows to compare on" in found["incomparable"]


@pytest.mark.slow
def test_publishing_without_rows_tells_what_was_not_compared(
    streamed: FitResult, source: RowSource, tmp_path: Path
) -> None:
    told: list[str] = []
    given: dict[str, Any] = {"feature_names": FEATURE_NAMES, "sample_rows": False}
    publish_fit(streamed, source, tmp_path / "blobs", **given)
    second = publish_fit(streamed, source, tmp_path / "blobs", **given, tell=told.append)
    assert second.version == 2
    not_compared = (
        "inertia, kept rows and shares were not compared with version 1: neither contains"
    )
    assert any(line.startswith(not_compared) for line in told)
    live = tmp_path / "blobs" / "1"
    assert isinstance(validate(second.directory, live=live), NotCompared)


def test_columns_of_a_source_are_taken_by_row_number(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    table: dict[str, Any] = {
        "age": rng.normal([20.0, 60.0], 3, (3_000, 2)).ravel().astype(np.float32),
        "plan": np.tile(["free", "paid"], 3_000),
    }
    encoder, arrays = fit_encoder(table, categories=["plan"])
    source = RowSource.from_array(encode_arrays(encoder, arrays))
    result = fit(source, 2)
    result.module.take_columns(encoder)
    with pytest.raises(InvalidCandidate, match=r"give take_columns, .* or sample_rows=False"):
        publish_fit(result, source, tmp_path / "people")

    def take(numbers: NDArray[np.int64]) -> Any:
        return {name: values[numbers] for name, values in table.items()}

    version = publish_fit(result, source, tmp_path / "people", take_columns=take)
    columns = sample_rows.read_columns(Path(version.directory), version.card.columns)
    assert len(columns) == 4_096
    assert set(columns.tensors["plan"]) == {b"free", b"paid"}
    private = publish_fit(result, source, tmp_path / "private", sample_rows=False)
    assert not (Path(private.directory) / sample_rows.COLUMNS_FILE).exists()
    named = [
        r for r in golden_requests.read(Path(private.directory)) if r.signature == "assign_columns"
    ]
    assert any(len(r.inputs["age"]) > 100 for r in named)
