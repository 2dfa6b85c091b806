"""A fit becomes a version in one call, whole or not at all."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from sklearn import cluster
from sklearn.pipeline import make_pipeline

from export import (
    InvalidCandidate,
    ModelCard,
    NotAModel,
    PublishFailed,
    PublishRefused,
    Thresholds,
    file_hashes,
    load,
    publish,
    publish_fit,
    publishing,
    versions,
    warmup,
)
from export.comparison import Comparison
from export.replay import collect_findings
from export.repository import config_entry
from export.sklearn_import import from_sklearn
from kmeans_module import FitResult, KMeans, NotFitted
from tests.point_forms import REFUSED, REFUSED_COLUMNS, WORKING

from .conftest import FEATURE_NAMES


@pytest.fixture
def unvalidated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "validate", lambda *_arguments, **_keywords: None)


def _entries(base: Path) -> list[str]:
    return sorted(entry.name for entry in base.iterdir())


def test_a_fit_is_published_through_the_gate_and_answers_as_it_did(
    fitted: FitResult, points: NDArray[np.float32], tmp_path: Path
) -> None:
    base = tmp_path / "models" / "blobs"
    figures: list[Comparison] = []
    first = publish_fit(
        fitted,
        points,
        base,
        feature_names=FEATURE_NAMES,
        files=[Path("blobs.csv")],
        rows_left_out=2,
    )
    second = publish_fit(
        fitted, points, str(base), feature_names=FEATURE_NAMES, on_comparison=figures.append
    )
    assert (first.version, first.directory, second.version) == (1, base / "1", 2)
    assert [each.live_version for each in figures] == [1]
    assert _entries(base) == [".publish.lock", "1", "2", "history.jsonl"]
    assert collect_findings(base / "1") == []
    assert file_hashes.find_changes(base / "1") == []
    card = ModelCard.read(base / "1")
    assert (card.model, card.feature_names, card.data.files) == (
        "blobs",
        FEATURE_NAMES,
        ("blobs.csv",),
    )
    assert card.data.rows_left_out == 2
    np.testing.assert_array_equal(first.assign(points).cluster_index, fitted.assignments)
    entry = config_entry(base)
    assert entry is not None
    assert (entry.versions, entry.labels) == ((1,), {"stable": 1})


@pytest.mark.usefixtures("unvalidated")
def test_the_files_of_a_fit_are_as_open_as_those_of_a_copied_candidate(
    fitted: FitResult, points: NDArray[np.float32], candidate: Path, tmp_path: Path
) -> None:
    publish_fit(fitted, points, tmp_path / "fit", feature_names=FEATURE_NAMES)
    publish(candidate, tmp_path / "copy")
    modes = [
        {str(path.relative_to(base)): path.stat().st_mode for path in (base / "1").rglob("*")}
        for base in (tmp_path / "fit", tmp_path / "copy")
    ]
    assert modes[0] == modes[1]


@pytest.mark.usefixtures("unvalidated")
def test_a_data_frame_gives_the_names_of_its_columns(
    fitted: FitResult, points: NDArray[np.float32], tmp_path: Path
) -> None:
    frame = pd.DataFrame(points.astype(np.float64), columns=["length", "width", "depth"])
    version = publish_fit(fitted, frame, tmp_path / "blobs")
    assert version.card.feature_names == ("length", "width", "depth")
    assert version.card.data.fingerprint == load(tmp_path / "blobs").card.data.fingerprint


@pytest.mark.usefixtures("unvalidated")
@pytest.mark.parametrize(
    ("rows", "names", "message"),
    [
        (
            slice(None),
            None,
            "points have no names; give feature_names, a list of 3, one for each column",
        ),
        (slice(None), ("a", "b"), "2 names, and the points have 3 columns"),
        (slice(1, None), FEATURE_NAMES, r"shape \(599, 3\), and the fit is of \(600, 3\)"),
        (0, FEATURE_NAMES, r"shape \(3,\); give two dimensions, \[rows, features\]"),
    ],
)
def test_points_and_names_that_are_not_those_of_the_fit_are_refused_and_no_folder_is_made(
    fitted: FitResult,
    points: NDArray[np.float32],
    tmp_path: Path,
    rows: Any,
    names: tuple[str, ...] | None,
    message: str,
) -> None:
    with pytest.raises(InvalidCandidate, match=message):
        publish_fit(fitted, points[rows], tmp_path / "new", feature_names=names)
    assert not any(tmp_path.iterdir())


def test_points_that_are_no_numbers_are_refused_in_one_line(
    fitted: FitResult, tmp_path: Path
) -> None:
    with pytest.raises(
        InvalidCandidate, match="points have the text 'a' in row 0, column 0, which is not numeric"
    ) as refused:
        publish_fit(fitted, [["a", "b", "c"]], tmp_path / "new", feature_names=FEATURE_NAMES)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [lambda x: x + 1, lambda x: x[::-1], lambda x: x * 100, lambda x: x[:, ::-1]],
    ids=["moved", "in another order", "scaled", "columns in another order"],
)
def test_other_points_of_the_same_shape_are_refused(
    fitted: FitResult,
    points: NDArray[np.float32],
    tmp_path: Path,
    change: Callable[[NDArray[np.float32]], NDArray[np.float32]],
) -> None:
    with pytest.raises(
        InvalidCandidate, match=r"give the points of the fit, .*columns in the same order"
    ):
        publish_fit(fitted, change(points), tmp_path / "new", feature_names=FEATURE_NAMES)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "a", "b"], "feature_names has 'a' 2 times"),
        ([1, 2, 3], "give one text for each column"),
        ("abc", "give one text for each column"),
        (["", "b", "c"], "give one text for each column"),
    ],
)
def test_names_that_are_not_one_text_a_column_are_refused(
    fitted: FitResult, points: NDArray[np.float32], tmp_path: Path, names: Any, message: str
) -> None:
    with pytest.raises(InvalidCandidate, match=message):
        publish_fit(fitted, points, tmp_path / "new", feature_names=names)


def test_names_beside_a_frame_that_has_others_are_refused(
    fitted: FitResult, points: NDArray[np.float32], tmp_path: Path
) -> None:
    frame = pd.DataFrame(points, columns=list(FEATURE_NAMES))
    with pytest.raises(InvalidCandidate, match="give the names of the frame, or none"):
        publish_fit(fitted, frame, tmp_path / "new", feature_names=FEATURE_NAMES[::-1])


@pytest.mark.usefixtures("unvalidated")
@pytest.mark.parametrize("form", ["polars frame with vectors", "Arrow table with vectors"])
def test_points_with_vectors_are_published_with_a_name_for_each_number(
    fitted: FitResult, points: NDArray[np.float32], tmp_path: Path, form: str
) -> None:
    version = publish_fit(fitted, WORKING[form](points), tmp_path / "blobs")
    assert version.card.feature_names == ("c0", "rest[0]", "rest[1]")


@pytest.mark.usefixtures("unvalidated")
@pytest.mark.parametrize("form", ["series of arrays", "polars series of lists", "Arrow lists"])
def test_vectors_without_a_name_get_the_calls_that_name_them(
    fitted: FitResult, points: NDArray[np.float32], tmp_path: Path, form: str
) -> None:
    given = WORKING[form](points)
    names = r"feature_names=[f'embedding[{i}]' for i in range(3)]"
    with pytest.raises(InvalidCandidate, match="vectors without a name") as refused:
        publish_fit(fitted, given, tmp_path / "blobs")
    message = str(refused.value)
    assert message.endswith(f", or {names}")
    mend = "pa.table({'embedding': points})"
    named = pa.table({"embedding": given}) if form == "Arrow lists" else given.rename("embedding")
    assert (mend if form == "Arrow lists" else "points.rename('embedding')") in message
    version = publish_fit(fitted, named, tmp_path / "blobs")
    assert version.card.feature_names == ("embedding[0]", "embedding[1]", "embedding[2]")


@pytest.mark.parametrize("form", [*REFUSED, *REFUSED_COLUMNS])
def test_points_that_are_no_table_of_numbers_are_refused_as_by_a_fit(
    fitted: FitResult, points: NDArray[np.float32], tmp_path: Path, form: str
) -> None:
    make, message = {**REFUSED, **REFUSED_COLUMNS}[form]
    with pytest.raises(InvalidCandidate, match=message):
        publish_fit(fitted, make(points), tmp_path / "new", feature_names=FEATURE_NAMES)
    assert not any(tmp_path.iterdir())


def test_a_point_that_is_not_finite_is_named(
    fitted: FitResult, points: NDArray[np.float32], tmp_path: Path
) -> None:
    broken = points.copy()
    broken[4, 1] = np.nan
    frame = pd.DataFrame(points, columns=["a", "b", "c"])
    frame.loc[4, "b"] = np.nan
    with pytest.raises(InvalidCandidate, match=r"NaN in row 4, column 1 \('b'\)"):
        publish_fit(fitted, frame, tmp_path / "new")
    with pytest.raises(InvalidCandidate, match="points hold NaN in row 4, column 1;"):
        publish_fit(fitted, broken, tmp_path / "new", feature_names=FEATURE_NAMES)


def test_an_option_that_there_is_not_is_refused_as_a_parameter_is(
    fitted: FitResult, points: NDArray[np.float32], tmp_path: Path
) -> None:
    wrong: dict[str, Any] = {"fource": True}
    with pytest.raises(TypeError, match=r"publish_fit\(\) got an unexpected .* 'fource'"):
        publish_fit(fitted, points, tmp_path / "new", feature_names=FEATURE_NAMES, **wrong)
    with pytest.raises(TypeError, match=r"publish\(\) got an unexpected .* 'fource'"):
        publish(tmp_path / "candidate", tmp_path / "new", **wrong)


def test_what_is_no_fit_is_refused(points: NDArray[np.float32], tmp_path: Path) -> None:
    nothing: Any = None
    with pytest.raises(InvalidCandidate, match="result has type NoneType; give the result of fit"):
        publish_fit(nothing, points, tmp_path / "new", feature_names=FEATURE_NAMES)


def test_the_refusal_of_an_estimator_of_scikit_learn_names_each_call_up_to_the_version(
    points: NDArray[np.float32], tmp_path: Path
) -> None:
    pipeline: Any = make_pipeline(cluster.KMeans(3, n_init=1)).fit(points)
    imported: Any = from_sklearn(pipeline)
    for kind, estimator in (("Pipeline", pipeline), ("SklearnImport", imported)):
        with pytest.raises(InvalidCandidate) as refused:
            publish_fit(estimator, points, tmp_path / "new", feature_names=FEATURE_NAMES)
        assert str(refused.value) == (
            f"result has type {kind}; give the result of fit, or a fitted tfkmeans.KMeans. To "
            "publish a k-means of scikit-learn, call from_sklearn, write_candidate and publish, "
            "or use the command tfkmeans import-sklearn"
        )


def test_a_frame_with_its_columns_in_another_order_is_published_in_that_of_the_estimator(
    points: NDArray[np.float32], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "validate", lambda *_arguments, **_keywords: None)
    frame = pd.DataFrame(points, columns=list(FEATURE_NAMES))
    model = KMeans(4).fit(frame)
    turned = frame[list(reversed(FEATURE_NAMES))]
    version = publish_fit(model, turned, tmp_path / "turned")
    assert version.card.feature_names == tuple(FEATURE_NAMES)
    np.testing.assert_array_equal(version.assign(turned).cluster_index, model.labels_)
    assert (
        publish_fit(model, points, tmp_path / "turned").card.feature_names
        == version.card.feature_names
    )


def test_a_fit_too_far_from_the_live_version_is_refused_unless_forced(
    fitted: FitResult,
    points: NDArray[np.float32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    far = Comparison(1, 60, 1.0, 3.0, 2.0, 0.4, 0.1)
    monkeypatch.setattr(
        publishing, "validate", lambda *_arguments, live, **_keywords: far if live else None
    )
    base = tmp_path / "blobs"
    publish_fit(fitted, points, base, feature_names=FEATURE_NAMES)
    with pytest.raises(PublishRefused, match=f"^{base}: refused: .*--max-inertia-rise"):
        publish_fit(fitted, points, base, feature_names=FEATURE_NAMES)
    assert versions(base) == (1,)
    forced = publish_fit(fitted, points, base, feature_names=FEATURE_NAMES, force=True)
    assert len(forced.card.forced) == 2
    assert file_hashes.find_changes(base / "2") == []
    loose = Thresholds(max_inertia_rise=3, min_rows_kept=0.1)
    near = publish_fit(fitted, points, base, feature_names=FEATURE_NAMES, thresholds=loose)
    assert (near.version, near.card.forced) == (3, ())


@pytest.mark.usefixtures("unvalidated")
@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), PublishFailed),
        (tf.errors.ResourceExhaustedError(None, None, "No space left on device"), PublishFailed),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_fit_that_cannot_be_written_whole_leaves_nothing(
    fitted: FitResult,
    points: NDArray[np.float32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    raised: type[BaseException],
) -> None:
    def fail(*_arguments: Any, **_keywords: Any) -> NoReturn:
        raise error

    base = tmp_path / "blobs"
    with monkeypatch.context() as patched:
        patched.setattr(warmup, "write", fail)
        with pytest.raises(raised, match=f"{base}: cannot publish: No space|^$"):
            publish_fit(fitted, points, base, feature_names=FEATURE_NAMES)
    assert _entries(base) == [".publish.lock"]
    assert publish_fit(fitted, points, base, feature_names=FEATURE_NAMES).version == 1


@pytest.mark.usefixtures("unvalidated")
@pytest.mark.usefixtures("unvalidated")
def test_an_estimator_is_published_as_its_fit_is(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    model = KMeans(3)
    with pytest.raises(NotFitted, match=r"no result_ yet; call fit\(X\) first"):
        publish_fit(model, rows, tmp_path / "people", feature_names=["age", "income"])
    model.fit(rows)
    published = publish_fit(model, rows, tmp_path / "people", feature_names=["age", "income"])
    np.testing.assert_array_equal(published.assign(rows).cluster_index, model.labels_)


def test_what_keeps_a_fit_from_being_published_is_found_before_the_work(
    fitted: FitResult, points: NDArray[np.float32], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PublishFailed, match="file: is a file; give a folder"):
        publish_fit(fitted, points, tmp_path / "file", feature_names=FEATURE_NAMES)
    with pytest.raises(PublishFailed, match=r"served_at /m: ram://m gets no models.config; leave"):
        publish_fit(fitted, points, "ram://m", feature_names=FEATURE_NAMES, served_at="/m")
    with pytest.raises(NotAModel, match="gs:/bucket/m: is an address as a Path"):
        publish_fit(fitted, points, Path("gs://bucket/m"), feature_names=FEATURE_NAMES)
