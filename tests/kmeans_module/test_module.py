"""The served signatures, asked in process."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from kmeans_module import SIGNATURES, FitResult, KMeansModule, fit

from .problems import Float32, blobs, distinct_rows

POINTS = blobs(500, 4, 5) * np.array([1, 10, 0.1, 3], "f4") + 20


@pytest.fixture(scope="module")
def fitted() -> FitResult:
    return fit(POINTS, 5, standardize=True, seed=2)


@pytest.fixture(scope="module")
def module(fitted: FitResult) -> KMeansModule:
    return fitted.module


def in_model_space(module: KMeansModule, points: Float32) -> NDArray[np.float64]:
    entered: NDArray[np.float64] = points.astype("f8") - module.shift.numpy()
    entered /= module.scale.numpy()
    return entered


def distances(module: KMeansModule, points: Float32) -> NDArray[np.float64]:
    wide = in_model_space(module, points)[:, None] - module.centroids.numpy()[None].astype("f8")
    euclidean: NDArray[np.float64] = np.sqrt((wide**2).sum(-1))
    return euclidean


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_signature_has_the_names_dtypes_and_shapes_of_the_contract(
    module: KMeansModule, name: str
) -> None:
    function = module.signatures[name].get_concrete_function()
    sizes = {"d": 4}
    (_, arguments) = function.structured_input_signature
    specs = {
        spec.name: spec for spec in [*function.structured_input_signature[0], *arguments.values()]
    }
    contract = SIGNATURES[name]
    assert list(specs) == [tensor.name for tensor in contract.inputs]
    for tensor in contract.inputs:
        assert specs[tensor.name].dtype.name == tensor.dtype
        assert specs[tensor.name].shape.as_list() == [sizes.get(dim) for dim in tensor.shape]
    assert set(function.structured_outputs) == {tensor.name for tensor in contract.outputs}
    for tensor in contract.outputs:
        output = function.structured_outputs[tensor.name]
        assert output.dtype.name == tensor.dtype
        assert output.shape.rank == len(tensor.shape)


def test_assign_gives_the_nearest_centroid_and_its_distance(module: KMeansModule) -> None:
    out = module.assign(POINTS)
    expected = distances(module, POINTS)
    np.testing.assert_array_equal(out["cluster_index"], expected.argmin(1))
    np.testing.assert_allclose(out["distance"], expected.min(1), rtol=1e-4)


def test_score_gives_the_inertia_and_the_simplified_silhouette(
    module: KMeansModule, fitted: FitResult
) -> None:
    out = module.score(POINTS)
    near, far = np.sort(distances(module, POINTS), 1)[:, :2].T
    np.testing.assert_allclose(out["squared_distance"], near**2, rtol=1e-4)
    np.testing.assert_allclose(out["silhouette"], (far - near) / far, rtol=1e-3, atol=1e-5)
    assert out["squared_distance"].numpy().sum() == pytest.approx(fitted.inertia, rel=1e-5)


def test_transform_gives_every_distance(module: KMeansModule) -> None:
    out = module.transform(POINTS)["all_distances"]
    np.testing.assert_allclose(out, distances(module, POINTS), rtol=1e-5)


def test_decode_gives_centroids_in_raw_units(module: KMeansModule, fitted: FitResult) -> None:
    out = module.decode(np.array([3, 0, 3], np.int32))["centroid"]
    np.testing.assert_array_equal(out, fitted.centroids[[3, 0, 3]])


@pytest.mark.parametrize("index", [-1, 5, 2**31 - 1])
def test_decode_refuses_an_index_that_is_no_cluster(module: KMeansModule, index: int) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"outside 0 \.\.\. 4"):
        module.decode(np.array([0, index], np.int32))


@pytest.mark.parametrize("signature", ["assign", "score", "transform"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3.4e38])
def test_a_bad_row_is_marked_and_the_others_are_answered(
    module: KMeansModule, signature: str, bad: float
) -> None:
    mixed = POINTS[:6].copy()
    mixed[2, 1] = bad
    marked = getattr(module, signature)(mixed)
    clean = getattr(module, signature)(POINTS[:6])
    others = [0, 1, 3, 4, 5]
    for name, values in marked.items():
        np.testing.assert_array_equal(values.numpy()[others], clean[name].numpy()[others])
        assert (values.numpy()[2] == (0 if name == "silhouette" else -1)).all()


def test_no_rows_give_empty_answers(module: KMeansModule) -> None:
    none = np.empty((0, 4), np.float32)
    assert module.assign(none)["cluster_index"].shape == (0,)
    assert module.score(none)["silhouette"].shape == (0,)
    assert module.transform(none)["all_distances"].shape == (0, 5)
    assert module.decode(np.empty(0, np.int32))["centroid"].shape == (0, 4)


def test_ties_go_to_the_lowest_index() -> None:
    # Every centroid twice, and a row halfway between two: all in numbers that float32 holds.
    centroids = np.repeat(np.eye(3, 8, dtype=np.float32) * 2, 2, axis=0)
    module = KMeansModule(centroids, np.zeros(8), np.ones(8))
    rows = np.vstack([np.eye(3, 8, dtype=np.float32) * 2, [[1, 1, 0, 0, 0, 0, 0, 0]]])
    np.testing.assert_array_equal(module.assign(rows)["cluster_index"], [0, 2, 4, 0])


def test_one_cluster_has_no_silhouette() -> None:
    module = KMeansModule(np.zeros((1, 2)), np.zeros(2), np.ones(2))
    out = module.score(np.array([[3, 4]], np.float32))
    np.testing.assert_allclose(out["squared_distance"], [25])
    np.testing.assert_array_equal(out["silhouette"], [0])


def test_a_row_on_two_equal_centroids_has_silhouette_zero() -> None:
    module = KMeansModule(np.zeros((2, 2)), np.zeros(2), np.ones(2))
    np.testing.assert_array_equal(module.score(np.zeros((1, 2), "f4"))["silhouette"], [0])


def test_many_rows_are_answered_as_a_few(module: KMeansModule) -> None:
    many = np.tile(POINTS, (900, 1))
    out, few = module.assign(many), module.assign(POINTS)
    for name in out:
        np.testing.assert_array_equal(out[name], np.tile(few[name], 900))


@pytest.mark.parametrize("width", [0, 1, 3, 5])
def test_another_width_is_refused_by_the_graph(module: KMeansModule, width: int) -> None:
    function = module.signatures["assign"].get_concrete_function()
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError, TypeError)):
        function(points=tf.zeros([2, width]))


def test_fit_step_walks_through_the_history_of_a_fit() -> None:
    for standardize in (False, True):
        fitted = fit(POINTS, 5, init=distinct_rows(POINTS, 5), standardize=standardize)
        centroids = fitted.initial_centroids[None]
        for step in fitted.history:
            out = fitted.module.fit_step(POINTS[None], np.ones((1, 500), "f4"), centroids)
            assert float(out["inertia"][0]) == pytest.approx(step.inertia, rel=1e-5)
            assert float(out["shift"][0]) == pytest.approx(step.shift, rel=1e-3, abs=1e-6)
            centroids = out["centroids"]
        np.testing.assert_allclose(centroids[0], fitted.centroids, rtol=1e-5)


def test_fit_step_runs_independent_problems_of_the_callers_k(module: KMeansModule) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(20, 5, (3, 40, 4)).astype("f4")
    weight = rng.uniform(0, 2, (3, 40)).astype("f4")
    centroids = points[:, :7]
    together = module.fit_step(points, weight, centroids)
    for b in range(3):
        alone = module.fit_step(points[b : b + 1], weight[b : b + 1], centroids[b : b + 1])
        for name, values in alone.items():
            np.testing.assert_array_equal(values[0], together[name][b])
    assert together["counts"].shape == (3, 7)
    np.testing.assert_allclose(tf.reduce_sum(together["counts"], 1), weight.sum(1), rtol=1e-5)


def test_fit_step_ignores_padding_and_bad_rows_and_keeps_an_empty_clusters_centroid(
    module: KMeansModule,
) -> None:
    points, weight = POINTS[None, :50], np.ones((1, 50), "f4")
    far = np.full((1, 1, 4), 1e6, np.float32)
    centroids = np.concatenate([POINTS[None, :2], far], 1)
    clean = module.fit_step(points, weight, centroids)
    np.testing.assert_array_equal(clean["centroids"][0, 2], far[0, 0])
    assert float(clean["counts"][0, 2]) == 0

    bad = np.array([[[np.nan, 1, 1, 1], [1, np.inf, 1, 1], [5, 5, 5, 5]]], np.float32)
    padded = module.fit_step(
        np.concatenate([points, bad], 1), np.array([[1.0] * 50 + [1, 1, 0]], "f4"), centroids
    )
    for name, values in clean.items():
        np.testing.assert_allclose(padded[name], values, rtol=1e-6)


def test_fit_step_of_no_problems_or_no_points_is_answered(module: KMeansModule) -> None:
    none = module.fit_step(
        np.zeros((0, 3, 4), "f4"), np.zeros((0, 3), "f4"), np.zeros((0, 2, 4), "f4")
    )
    assert none["inertia"].shape == (0,)
    centroids = POINTS[None, :2]
    empty = module.fit_step(np.zeros((1, 0, 4), "f4"), np.zeros((1, 0), "f4"), centroids)
    np.testing.assert_array_equal(empty["centroids"], centroids)
    np.testing.assert_array_equal(empty["inertia"], [0])


@pytest.mark.parametrize(
    ("points", "weight", "centroids"),
    [
        ((1, 9, 4), (1, 1), (1, 2, 4)),
        ((2, 9, 4), (1, 9), (2, 2, 4)),
        ((2, 9, 4), (2, 9), (1, 2, 4)),
        ((1, 9, 4), (1, 9), (1, 0, 4)),
        ((1, 0, 4), (1, 0), (1, 0, 4)),
    ],
)
def test_fit_step_refuses_shapes_that_do_not_fit(
    module: KMeansModule, points: Any, weight: Any, centroids: Any
) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="do not fit"):
        module.fit_step(*(np.zeros(shape, np.float32) for shape in (points, weight, centroids)))


def test_no_signature_changes_the_module(module: KMeansModule) -> None:
    before = [variable.numpy().tobytes() for variable in module.variables]
    module.assign(POINTS)
    module.score(POINTS)
    module.fit_step(POINTS[None], np.ones((1, 500), "f4"), POINTS[None, :3])
    assert [variable.numpy().tobytes() for variable in module.variables] == before
