"""The model in this process."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from export import make_card, write_candidate
from export.candidate import write_saved_model
from export.errors import InvalidCandidate
from export.published_version import PublishedVersion
from kmeans_module import KMeansModule, fit, fit_columns
from kmeans_module.column_training import encode_arrays
from kmeans_module.errors import InvalidPoints
from kmeans_module.raw_columns import read_columns
from serving.batch import ScoredModel, plan_job, score_files
from serving.batch.scorer import MANY_ROWS, LocalScorer
from serving.tables import open_table

#: The folder of a version, and rows for it as a job reads them.
Many = tuple[Path, Any]


def test_a_version_answers_as_its_module_does_also_for_no_rows_and_bad_rows(tmp_path: Path) -> None:
    centroids, shift, scale = (
        np.array(values, np.float32) for values in ([[-1, 0], [1, 0]], [10, 0], [1, 2])
    )
    module = KMeansModule(centroids, shift, scale)
    (tmp_path / "7").mkdir()
    write_saved_model(tmp_path / "7", module)
    scorer = LocalScorer(tmp_path / "7")

    # (12 - 10, 4 / 2) is (2, 2) in the model's space: the root of 5 from (1, 0).
    found = scorer.assign(np.array([[9, 0], [12, 4], [np.nan, 0]]))

    assert found.version == scorer.version == 7
    assert found.cluster_index.dtype == np.int32
    np.testing.assert_array_equal(found.cluster_index, [0, 1, -1])
    np.testing.assert_allclose(found.distance, [0, np.sqrt(5), -1], rtol=1e-6)
    assert scorer.assign(np.empty((0, 2))).distance.shape == (0,)


def test_a_version_that_does_not_load_is_named(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"broken")
    with pytest.raises(InvalidCandidate, match=r"/1: cannot be loaded: "):
        LocalScorer(tmp_path / "1")


@pytest.fixture(scope="module", params=["points", "cosine", "columns"])
def many(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Many:
    rng = np.random.default_rng(7)
    folder = tmp_path_factory.mktemp(request.param) / "1"
    settings: dict[str, Any] = {"n_init": 1, "max_iter": 3, "seed": 1, "standardize": True}
    if request.param == "columns":
        names = np.array(["north", "south", "", "east"], object)
        columns = {
            "region": names[rng.integers(0, 3, 2_000)],
            "income": np.where(rng.random(2_000) < 0.1, np.nan, rng.normal(50, 9, 2_000)),
            "taste": rng.normal(size=(2_000, 2)).astype(np.float32),
        }
        result = fit_columns(
            columns, 5, categories=["region"], impute="mean", unknown="category", **settings
        )
        encoder = result.module.encoder
        assert encoder is not None
        points = encode_arrays(encoder, read_columns(encoder.columns, columns))
        features = encoder.feature_names
    else:
        points = (rng.normal(size=(2_000, 3)) * [1, 50, 0.1] + [0, 1000, 3]).astype(np.float32)
        settings["distance"] = "cosine" if request.param == "cosine" else "euclidean"
        result = fit(points, 5, **settings)
        features = ("a", "b", "c")
    card = make_card(result, points, feature_names=features, model="many")
    write_candidate(folder, result, card, points)
    rows: Any = (rng.normal(size=(70_000, 3)) * [2, 90, 0.2] + [0, 1000, 3]).astype(np.float32)
    rows[[0, 9_000]] = [[0, np.nan, 0], [1, np.inf, 0]]
    if request.param == "columns":
        regions = names[rng.integers(0, 4, 70_000)].tolist()
        rows = {
            "region": pa.array([region or None for region in regions]).dictionary_encode(),
            "income": np.where(rng.random(70_000) < 0.1, np.float32(np.nan), 50 + rows[:, 0]),
            "taste": rows[:, 1:] / 1000,
        }
    return folder, rows


def test_many_rows_have_the_clusters_that_the_served_graph_says(many: Many) -> None:
    directory, rows = many
    by_kernel, by_graph = LocalScorer(directory, MANY_ROWS), LocalScorer(directory, MANY_ROWS - 1)
    assert by_kernel._kernel is not None
    assert by_graph._kernel is None
    found, said = by_kernel.assign(rows), by_graph.assign(rows)
    np.testing.assert_array_equal(found.cluster_index, said.cluster_index)
    np.testing.assert_allclose(found.distance, said.distance, rtol=5e-7)
    assert [each.dtype for each in (found.cluster_index, found.distance)] == ["int32", "float32"]
    assert found.version == 1
    assert (said.cluster_index == -1).sum() == 2


def test_rows_that_rounding_could_move_are_asked_of_the_served_graph(
    many: Many, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, rows = many
    if not isinstance(rows, np.ndarray):
        pytest.skip("of columns, no row between two centroids is known")
    scorer = LocalScorer(directory, MANY_ROWS)
    asked = note_questions(monkeypatch)
    centroids, middle = find_middle(scorer)
    given = np.vstack([centroids + 1e-3, middle, rows[:1]]).astype(np.float32)
    found = scorer.assign(given)
    (left,) = asked
    assert len(left) < len(given)
    np.testing.assert_array_equal(left[-2:], given[-2:])
    np.testing.assert_array_equal(found.cluster_index[:5], range(5))
    assert found.cluster_index[-1] == -1


def note_questions(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The rows of each question to a served graph, from now on."""
    asked: list[Any] = []
    answer = PublishedVersion.assign

    def noted(version: PublishedVersion, given: Any, /) -> Any:
        asked.append(given)
        return answer(version, given)

    monkeypatch.setattr(PublishedVersion, "assign", noted)
    return asked


def find_middle(scorer: LocalScorer) -> tuple[Any, Any]:
    """The centroids, and the point between the two that are nearest to each other."""
    centroids = scorer.decode().centroid
    apart = scorer.transform(centroids).all_distances + 9 * np.eye(len(centroids))
    # There is no third.
    return centroids, centroids[list(np.unravel_index(apart.argmin(), apart.shape))].mean(axis=0)


def test_the_served_graph_is_asked_once_for_many_batches_and_at_once_for_rows_that_may_be_bad(
    many: Many, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, rows = many
    if not isinstance(rows, np.ndarray):
        pytest.skip("of columns, no row between two centroids is known")
    scorer = LocalScorer(directory, MANY_ROWS)
    centroids, middle = find_middle(scorer)
    batches = [np.vstack([centroids, middle]), np.vstack([middle, centroids])]
    batches = [batch.astype(np.float32) for batch in batches]
    wanted = [PublishedVersion.assign(scorer, batch) for batch in batches]
    asked = note_questions(monkeypatch)
    begun = [scorer.begin_assign(batch) for batch in batches]
    assert asked == []
    scorer.finish_assign([undecided for _, undecided in begun if undecided is not None])
    (left,) = asked
    np.testing.assert_array_equal(left, np.vstack([batches[0][-1], batches[1][0]]))
    for (found, _), said in zip(begun, wanted, strict=True):
        np.testing.assert_array_equal(found.cluster_index, said.cluster_index)
        np.testing.assert_allclose(found.distance, said.distance, rtol=5e-7, atol=1e-6)
    found, undecided = scorer.begin_assign(np.vstack([batches[0], rows[:1]]))
    assert undecided is None
    assert found.cluster_index[-1] == -1
    assert len(asked) == 2


def test_a_job_asks_the_served_graph_once_for_the_batches_of_a_part(
    many: Many, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, rows = many
    if not isinstance(rows, np.ndarray):
        pytest.skip("of columns, no row between two centroids is known")
    scorer = LocalScorer(directory, MANY_ROWS)
    _, middle = find_middle(scorer)
    given = np.tile(rows[1:5_001], (40, 1))
    given[::10_000] = middle
    np.save(tmp_path / "rows.npy", given)
    written = []
    asked = note_questions(monkeypatch)
    for name, by in (("kernel", scorer), ("graph", LocalScorer(directory))):
        tables = [open_table(tmp_path / "rows.npy")]
        model = ScoredModel("many", 1, "ab" * 32)
        job = plan_job(tables, tmp_path / name, model, scorer.card, part_rows=100_000)
        score_files(job, tables, by)
        written.append(pq.read_table(tmp_path / name / "scored"))
        # Two parts, of two batches of 65,536 rows or fewer; and of four, without a kernel.
        assert len(asked) == {"kernel": 2, "graph": 2 + 8}[name]
    found, said = written
    assert found["cluster_index"].equals(said["cluster_index"])
    one, other = (table["distance"].to_numpy() for table in written)
    np.testing.assert_allclose(one, other, rtol=5e-7)


def test_rows_of_another_form_or_width_are_answered_as_ever(many: Many) -> None:
    directory, rows = many
    scorer = LocalScorer(directory, MANY_ROWS)
    few = rows[1:4] if isinstance(rows, np.ndarray) else np.ones((3, scorer.card.n_features))
    whole = scorer.assign(few)
    np.testing.assert_array_equal(scorer.assign(few.tolist()).cluster_index, whole.cluster_index)
    with pytest.raises(InvalidPoints, match=r"points have shape \(3, 1\), and the model takes"):
        scorer.assign(few[:, :1])
