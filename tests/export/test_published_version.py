"""A version that is loaded answers as its module does, and says which it is."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import tensorflow as tf
from numpy.typing import NDArray

import export
import serving
from export import (
    InvalidCandidate,
    ModelCard,
    NotAModel,
    PublishedVersion,
    VersionNotFound,
    label_moves,
    load,
    make_card,
    publish,
    publishing,
    write_candidate,
)
from kmeans_module import FitResult, InvalidPoints
from tests.forked_calls import refused_in_a_fork
from tests.point_forms import REFUSED, WORKING

from .conftest import FEATURE_NAMES


@pytest.fixture
def base(candidate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Versions 1 and 2, of which 1 is stable."""
    monkeypatch.setattr(publishing, "validate", lambda *_arguments, **_keywords: None)
    for number in (1, 2):
        assert publish(candidate, tmp_path / "models" / "blobs") == number
    return tmp_path / "models" / "blobs"


@pytest.fixture
def store(candidate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Versions 1 and 2 at an address."""
    monkeypatch.setattr(publishing, "validate", lambda *_arguments, **_keywords: None)
    address = "ram://loaded/models/blobs"
    for number in (1, 2):
        assert publish(candidate, address) == number
    yield address
    tf.io.gfile.rmtree(address)


@pytest.fixture(scope="module")
def version(candidate: Path, tmp_path_factory: pytest.TempPathFactory) -> PublishedVersion:
    return PublishedVersion(shutil.copytree(candidate, tmp_path_factory.mktemp("blobs") / "7"))


def test_every_question_is_answered_as_by_the_module(
    version: PublishedVersion, fitted: FitResult, points: NDArray[np.float32], card: ModelCard
) -> None:
    rows = np.concatenate([points[:50], [[np.nan, 0, 0]]]).astype(np.float32)
    for answer, module_answer in (
        (version.assign(rows), fitted.module.assign(rows)),
        (version.score(rows), fitted.module.score(rows)),
        (version.transform(rows), fitted.module.transform(rows)),
        (version.decode([2, 0]), fitted.module.decode([2, 0])),
    ):
        assert answer.version == version.version == 7
        for name, tensor in module_answer.items():
            given = getattr(answer, name)
            assert given.dtype == tensor.numpy().dtype
            np.testing.assert_array_equal(given, tensor.numpy())
    assert version.assign(rows).cluster_index[-1] == -1
    assert version.assign(np.empty((0, 3))).distance.shape == (0,)
    np.testing.assert_allclose(version.decode().centroid, fitted.centroids, rtol=1e-5)
    assert version.card == card


def test_an_answer_in_a_fork_is_refused_and_does_not_hang(
    version: PublishedVersion,
) -> None:
    other, rows = PublishedVersion(version.directory), [[0.0] * 3]
    version.decode()
    for call in (version.decode, lambda: version.assign(rows), lambda: other.model):
        assert "'spawn'" in refused_in_a_fork(call)


def test_the_results_are_those_of_the_clients() -> None:
    for name in ("Assignment", "Score", "Distances", "Centroids"):
        assert getattr(export, name) is getattr(serving, name)


def test_the_columns_of_a_data_frame_are_taken_by_name(
    version: PublishedVersion, points: NDArray[np.float32]
) -> None:
    frame = pd.DataFrame(points, columns=list(FEATURE_NAMES))
    mixed = frame[["depth", "length", "width"]].assign(town="Rome")
    np.testing.assert_array_equal(
        version.assign(mixed).cluster_index, version.assign(points).cluster_index
    )
    with pytest.raises(InvalidPoints, match="no column 'width', which the model takes"):
        version.assign(frame.drop(columns="width"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([1.0, 2.0, 3.0], r"shape \(3,\), and the model takes \[n, 3\]"),
        ([[1.0, 2.0]], r"shape \(1, 2\), and the model takes \[n, 3\]"),
        ([["a", "b", "c"]], "the text 'a' in row 0, column 0, which is not numeric"),
        ([[1j, 2, 3]], "dtype complex128, which is not numeric"),
    ],
)
def test_rows_that_are_not_the_models_are_one_line(
    version: PublishedVersion, rows: Any, message: str
) -> None:
    for question in (version.assign, version.score, version.transform):
        with pytest.raises(InvalidPoints, match=message) as refused:
            question(rows)
        assert "\n" not in str(refused.value)


@pytest.fixture(scope="module")
def of_vectors(
    fitted: FitResult, points: NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory
) -> PublishedVersion:
    """Trained on a number ``c0`` and on vectors ``rest``."""
    directory = tmp_path_factory.mktemp("vectors") / "1"
    card = make_card(fitted, points, feature_names=("c0", "rest[0]", "rest[1]"))
    write_candidate(directory, fitted, card, points)
    return PublishedVersion(directory)


_HAS_OTHER_NAMES = "frame|records|Arrow table|record batch"


@pytest.mark.parametrize("form", WORKING)
def test_points_in_any_form_are_assigned_and_vectors_are_taken_by_the_name_of_their_column(
    of_vectors: PublishedVersion, version: PublishedVersion, points: NDArray[np.float32], form: str
) -> None:
    asked = of_vectors
    given = WORKING[form](points)
    if "vectors" not in form and re.search(_HAS_OTHER_NAMES, form):
        with pytest.raises(InvalidPoints, match=r"no column 'rest\[0\]', which the model takes"):
            asked.assign(given)
        return
    expected = version.assign(points)
    np.testing.assert_array_equal(asked.assign(given).cluster_index, expected.cluster_index)


@pytest.mark.parametrize("form", REFUSED)
def test_points_that_are_no_table_of_numbers_are_refused_as_by_a_fit(
    version: PublishedVersion, points: NDArray[np.float32], form: str
) -> None:
    make, message = REFUSED[form]
    with pytest.raises(InvalidPoints, match=message):
        version.assign(make(points))


def test_a_row_with_a_missing_value_is_answered_as_a_bad_row(version: PublishedVersion) -> None:
    columns = dict(zip(FEATURE_NAMES, ([1, None], [3000, 3000], [1, 1]), strict=True))
    masked = np.ma.masked_array([[1.0, 3000, 1], [1, 3000, 1]], mask=[[False] * 3, [True] * 3])
    frame = pd.DataFrame(columns).astype("Int64")
    for rows in (frame, pl.DataFrame(columns), pa.table(columns), masked):
        index = version.assign(rows).cluster_index
        assert index[0] >= 0
        assert index[1] == -1


@pytest.mark.parametrize("index", [4, [4], [-1], [0.5], [[0]], ["a"], [np.nan], [True]])
def test_an_index_that_is_no_cluster_is_one_line(version: PublishedVersion, index: Any) -> None:
    with pytest.raises(InvalidPoints, match=r"give whole numbers .* from 0 to 3"):
        version.decode(index)


def test_the_live_version_is_taken_unless_another_is_named(base: Path) -> None:
    assert load(base).version == 1
    assert load(str(base), 2).version == 2
    label_moves.carry_out(base, lambda entry: label_moves.promote(base, entry, 2), poll_interval=0)
    assert load(base).version == 2
    (base.parent / "models.config").unlink()
    shutil.copytree(base / "1", base / "3")
    assert load(base).version == 3
    with pytest.raises(VersionNotFound, match="has no version 9; there is 1, 2, 3"):
        load(base, 9)


def test_a_version_of_a_store_is_loaded_from_there(
    store: str, fitted: FitResult, points: NDArray[np.float32], card: ModelCard
) -> None:
    found = load(store)
    assert (found.version, found.directory, found.card) == (2, f"{store}/2", card)
    np.testing.assert_array_equal(found.assign(points).cluster_index, fitted.assignments)
    assert load(store, 1).version == 1
    with pytest.raises(VersionNotFound, match="has no version 9; there is 1, 2"):
        load(store, 9)
    with pytest.raises(NotAModel, match="ram://nothing: contains no version folder"):
        load("ram://nothing")
    tf.io.gfile.remove(f"{store}/1/assets.extra/model_card.json")
    with pytest.raises(InvalidCandidate, match=f"{store}/1: no model card"):
        load(store, 1)


def test_what_is_no_model_and_what_does_not_load_is_one_line(base: Path, tmp_path: Path) -> None:
    with pytest.raises(NotAModel, match="no such folder"):
        load(tmp_path / "gone")
    (base / "2" / "saved_model.pb").write_bytes(b"broken")
    broken = load(base, 2)  # the card is there
    with pytest.raises(InvalidCandidate, match="/2: cannot be loaded: ") as refused:
        broken.assign([[1.0, 2.0, 3.0]])
    assert "\n" not in str(refused.value)
    (base / "2" / "assets.extra" / "model_card.json").unlink()
    with pytest.raises(InvalidCandidate, match="no model card"):
        load(base, 2)


def test_a_number_beyond_float32_is_a_bad_row_without_a_warning(version: PublishedVersion) -> None:
    assert version.assign([[1e300, 1, 1]]).cluster_index.tolist() == [-1]


@pytest.mark.parametrize("number", ["1", True, 1.0])
def test_what_is_no_number_of_a_version_is_one_line(base: Path, number: Any) -> None:
    with pytest.raises(VersionNotFound, match=r"is not a version of .*; give a number"):
        load(base, number)


def test_a_base_that_is_empty_text_is_one_line() -> None:
    with pytest.raises(NotAModel, match="empty text; give a folder"):
        load("")
