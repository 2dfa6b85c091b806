"""How far a candidate is from the live version, in figures that can be checked by hand."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from export import (
    ModelCard,
    PublishRefused,
    file_hashes,
    make_card,
    publish,
    versions,
    write_candidate,
)
from export.comparison import Answers, Comparison, Thresholds, compare
from export.replay import measure
from kmeans_module import fit

from .conftest import FEATURE_NAMES, PARAMETERS

ROWS = np.array([[0.0, 0], [0, 2], [10, 0], [10, 2], [20, 0], [np.nan, 0]], np.float32)
CENTROIDS = np.array([[0.0, 1], [10, 1], [20, 0]])
LIVE = Answers(np.array([0, 0, 1, 1, 2, -1]), CENTROIDS)


def test_the_same_model_under_other_numbers_is_equal() -> None:
    order = np.array([2, 0, 1])
    renumbered = Answers(np.array([1, 1, 2, 2, 0, -1]), CENTROIDS[order])
    same = compare(ROWS, LIVE, renumbered, 7)
    assert same == Comparison(7, 5, 0.8, 0.8, 0.0, 1.0, 0.0)
    assert same.beyond(Thresholds(0, 1, 0)) == []


def test_a_row_that_moves_is_counted_in_every_figure() -> None:
    # The third row goes from the middle cluster to the left one.
    moved = Answers(np.array([0, 0, 0, 1, 2, -1]), CENTROIDS)
    far = compare(ROWS, LIVE, moved, 1)
    assert far is not None
    assert far.live_inertia == pytest.approx(4 / 5)
    assert far.candidate_inertia == pytest.approx((3 + 101) / 5)
    assert far.inertia_rise == pytest.approx(25.0)
    assert far.rows_kept == pytest.approx(0.8)
    assert far.share_change == pytest.approx(0.2)
    beyond = far.beyond(Thresholds(0.1, 0.9, 0.1))
    assert [line.split("(")[1] for line in beyond] == [
        "--max-inertia-rise 0.1)",
        "--min-rows-kept 0.9)",
        "--max-share-change 0.1)",
    ]


def test_a_cluster_without_a_match_changes_by_all_its_share() -> None:
    fewer = Answers(np.array([0, 0, 0, 0, 1, -1]), np.array([[5.0, 1], [20, 0]]))
    less = compare(ROWS, LIVE, fewer, 1)
    assert less is not None
    assert less.rows_kept == pytest.approx(0.6)  # two of the merged cluster, and the third's
    assert less.share_change == pytest.approx(0.4)
    more = compare(ROWS, fewer, LIVE, 1)
    assert more is not None
    assert more.share_change == pytest.approx(0.4)


def test_without_a_row_that_both_answer_there_is_no_comparison() -> None:
    assert compare(ROWS[5:], Answers(LIVE.cluster_index[5:], CENTROIDS), LIVE, 1) is None


# Through the gate.


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory, points: NDArray[np.float32]) -> Path:
    """A candidate of two clusters, far from the session's with four."""
    directory = tmp_path_factory.mktemp("other") / "candidate"
    result = fit(points, 2, **PARAMETERS)
    card = make_card(result, points, feature_names=FEATURE_NAMES)
    write_candidate(directory, result, card, points)
    return directory


@pytest.fixture
def base(candidate: Path, tmp_path: Path) -> Path:
    """A model whose version 1 is the session's candidate."""
    return Path(shutil.copytree(candidate, tmp_path / "models" / "blobs" / "1")).parent


def test_an_equal_model_is_as_near_as_can_be(
    candidate: Path, base: Path, points: NDArray[np.float32], tmp_path: Path
) -> None:
    holdout = tmp_path / "holdout.npy"
    np.save(holdout, points[:77])
    for rows, given in ((600, ()), (77, (holdout,))):
        equal = Comparison(**measure(candidate, base / "1", *given)["comparison"])
        assert (equal.live_version, equal.rows) == (1, rows)
        assert equal.beyond(Thresholds(0.0, 1.0, 0.0)) == []


@pytest.mark.slow
def test_the_gate_refuses_a_model_too_far_with_the_figures_unless_forced(
    other: Path, base: Path
) -> None:
    told: list[Comparison] = []
    with pytest.raises(
        PublishRefused, match=r"inertia on 600 rows is .*--max-inertia-rise 0\.1.*; --force"
    ):
        publish(other, base, on_comparison=told.append)
    assert told[0].inertia_rise > 0.1
    assert versions(base) == (1,)
    assert publish(other, base, force=True) == 2
    forced = ModelCard.read(base / "2").forced
    assert "--max-inertia-rise" in forced[0]
    assert file_hashes.find_changes(base / "2") == []


def test_a_model_of_other_columns_or_without_rows_cannot_be_compared(
    base: Path, spoilable: Path, card: ModelCard
) -> None:
    renamed = dataclasses.replace(card, feature_names=("length", "depth", "width"))
    renamed.write(spoilable)
    why = measure(spoilable, base / "1")["incomparable"]
    assert why == (
        "it takes the columns length, depth, width, and version 1 takes the columns length, "
        "width, depth"
    )
    card.write(spoilable)
    (spoilable / "assets.extra" / "sample_rows.npy").unlink()
    assert "give rows with --holdout" in measure(spoilable, base / "1")["incomparable"]


def test_a_comparison_of_values_has_its_old_name_for_one_release() -> None:
    values = {
        "live_version": 1,
        "rows": 10,
        "live_inertia": 2.0,
        "candidate_inertia": 1.0,
        "inertia_rise": -0.5,
        "rows_kept": 1.0,
        "share_change": 0.0,
    }
    with pytest.warns(DeprecationWarning, match=r"Comparison\(\*\*values\)"):
        assert Comparison.from_values(values) == Comparison(**values)  # type: ignore[arg-type]
