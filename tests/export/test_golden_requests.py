"""Golden requests: which are chosen, and the file they lie in."""

import io
import zipfile
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from export import GoldenRequest, InvalidCandidate, golden_requests
from export.golden_requests import GOLDEN_FILE
from kmeans_module import FitResult

ROW_SIGNATURES = ("assign", "score", "serving_default", "transform")


@pytest.fixture(scope="module")
def requests(candidate: Path) -> list[GoldenRequest]:
    return golden_requests.read(candidate)


def _batches(requests: list[GoldenRequest], signature: str) -> list[NDArray[np.float32]]:
    return [request.inputs["points"] for request in requests if request.signature == signature]


@pytest.mark.parametrize("signature", ROW_SIGNATURES)
def test_every_signature_of_rows_is_asked_from_all_edges(
    requests: list[GoldenRequest], points: NDArray[np.float32], signature: str
) -> None:
    empty, one, many, bad, far = _batches(requests, signature)
    assert empty.shape == (0, 3)
    assert one.shape == (1, 3)
    assert len(many) > 200
    assert set(map(tuple, many.tolist())) <= set(map(tuple, points.tolist()))
    assert np.isnan(bad).any()
    assert np.isposinf(bad).any()
    assert np.isneginf(bad).any()
    spread = points.max(axis=0) - points.min(axis=0)
    middle = (points.max(axis=0) + points.min(axis=0)) / 2
    assert (np.abs((far - middle) / spread).max(axis=1) > 100).all()


def test_bad_rows_are_recorded_as_the_contract_says_and_the_others_as_if_alone(
    requests: list[GoldenRequest],
) -> None:
    for request in requests:
        if request.signature != "score" or np.isfinite(request.inputs["points"]).all():
            continue
        good = np.isfinite(request.inputs["points"]).all(axis=1)
        assert (request.outputs["squared_distance"][~good] == -1).all()
        assert (request.outputs["silhouette"][~good] == 0).all()
        assert (request.outputs["squared_distance"][good] >= 0).all()
        assert good.sum() == 4
        return
    pytest.fail("no request with bad rows")


def test_nothing_is_lacking_in_what_is_chosen(requests: list[GoldenRequest]) -> None:
    assert golden_requests.find_missing(requests, 4) == []


@pytest.mark.parametrize(
    ("left_out", "finding"),
    [
        (lambda r: len(r.inputs.get("points", "x")) == 0, "lack serving_default of no row"),
        (
            lambda r: r.signature == "score" and len(r.inputs["points"]) == 1,
            "lack score of one row",
        ),
        (
            lambda r: r.signature == "assign" and not np.isfinite(r.inputs["points"]).all(),
            "lack assign of a row with NaN or infinity",
        ),
        (lambda r: len(r.inputs.get("cluster_index", [])) == 4, "lack decode of every cluster"),
        (lambda r: r.signature == "fit_step", "lack fit_step"),
    ],
)
def test_what_a_new_version_is_not_asked_is_found(
    requests: list[GoldenRequest], left_out: Callable[[GoldenRequest], bool], finding: str
) -> None:
    (found,) = golden_requests.find_missing([each for each in requests if not left_out(each)], 4)
    assert found.startswith(f"the golden requests {finding}")


def test_rows_are_not_demanded_of_centroids_that_are_all_alike() -> None:
    answer = _TwoCentroids(0.0, 0.0)
    chosen = golden_requests.choose(np.full((8, 1), 5.0), 2, answer)
    assert not any(len(batch) == 1 for batch in _batches(chosen, "assign"))
    assert golden_requests.find_missing(chosen, 2) == []


def test_all_centroids_and_one_fit_step_are_recorded(
    requests: list[GoldenRequest], fitted: FitResult
) -> None:
    decoded = [request for request in requests if request.signature == "decode"][-1]
    assert decoded.inputs["cluster_index"].tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(decoded.outputs["centroid"], fitted.centroids, rtol=1e-5)
    (step,) = (request for request in requests if request.signature == "fit_step")
    weight = step.inputs["sample_weight"]
    np.testing.assert_allclose(step.outputs["counts"].sum(axis=1), weight.sum(axis=1))
    assert (weight[1] == 0).any()


def test_no_row_lies_between_two_centroids(
    requests: list[GoldenRequest], fitted: FitResult, points: NDArray[np.float32]
) -> None:
    scale = points.astype(np.float64).std(axis=0)
    for request in requests:
        if "points" not in request.inputs or request.signature == "fit_step":
            continue
        rows = request.inputs["points"].astype(np.float64)
        rows = rows[np.isfinite(rows).all(axis=1)]
        offsets = (rows[:, None] - fitted.centroids.astype(np.float64)) / scale
        first, second = np.sort(np.linalg.norm(offsets, axis=2), axis=1)[:, :2].T
        assert (second - first >= 0.99e-4 * second).all()


class _TwoCentroids:
    """Centroids on a line, asked without TensorFlow."""

    def __init__(self, first: float = 0.0, second: float = 10.0) -> None:
        self._places = np.array([[first], [second]], np.float32)

    def __call__(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        if signature == "decode":
            return {"centroid": self._places[inputs["cluster_index"]]}
        if signature == "transform":
            return {"all_distances": np.abs(inputs["points"] - self._places.T)}
        return {"given": np.zeros(len(inputs["points"]), np.float32)}


def test_rows_on_the_border_are_dropped_and_what_is_left_of_them_is_asked() -> None:
    rows = np.array([[5.0], [5.0], [1.0], [5.0001], [9.0]])
    chosen = golden_requests.choose(rows, 2, _TwoCentroids())
    _, one, many, *_ = _batches(chosen, "assign")
    assert one.dtype == np.float32
    assert many.tolist() == [[1.0], [9.0]]


def test_data_all_on_the_border_still_gives_the_requests_without_rows() -> None:
    chosen = golden_requests.choose(np.full((8, 1), 5.0), 2, _TwoCentroids())
    assert {request.signature for request in chosen} == {*ROW_SIGNATURES, "decode"}
    lengths = [len(batch) for batch in _batches(chosen, "transform")]
    assert lengths[0] == 0
    assert 4 in lengths  # bad rows alone


def test_the_same_seed_chooses_the_same_requests_and_another_seed_others() -> None:
    rows = np.random.default_rng(0).uniform(-5, 15, (5000, 1))
    first, again, other = (
        _batches(golden_requests.choose(rows, 2, _TwoCentroids(), seed=seed), "assign")[2].tolist()
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


class _ManyCentroids:
    """65,536 centroids of 128 features, asked without TensorFlow."""

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        self.places = rng.normal(size=(2**16, 128)).astype(np.float32)
        self.points = self.places[:1000] + rng.normal(scale=0.1, size=(1000, 128))
        self._squares = np.square(self.places).sum(axis=1)

    def __call__(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        if signature == "decode":
            return {"centroid": self.places[inputs["cluster_index"]]}
        if signature == "fit_step":
            return {"centroids": inputs["centroids"]}
        rows = inputs["points"].astype(np.float32)
        if signature != "transform":
            return {"cluster_index": np.zeros(len(rows), np.int32)}
        good = np.isfinite(rows).all(axis=1)
        known = rows[good].astype(np.float32)
        squares = np.square(known).sum(axis=1)[:, None] + self._squares - 2 * known @ self.places.T
        distances = np.full((len(rows), len(self.places)), -1, np.float32)
        distances[good] = np.sqrt(np.maximum(squares, 0))
        return {"all_distances": distances}


@pytest.fixture(scope="module")
def many_centroids() -> _ManyCentroids:
    return _ManyCentroids()


@pytest.fixture(scope="module")
def requests_of_many(many_centroids: _ManyCentroids) -> list[GoldenRequest]:
    return golden_requests.choose(many_centroids.points, 2**16, many_centroids)


def test_of_65536_clusters_the_file_stays_below_2_megabytes(
    requests_of_many: list[GoldenRequest], tmp_path: Path
) -> None:
    golden_requests.write(tmp_path, requests_of_many)
    assert (tmp_path / GOLDEN_FILE).stat().st_size < 2_000_000
    # Nor is much more needed to read it.
    tensors = [[*each.inputs.values(), *each.outputs.values()] for each in requests_of_many]
    assert sum(array.nbytes for array in chain(*tensors)) < 5_000_000


def test_of_many_clusters_some_from_the_first_to_the_last_are_decoded_and_moved(
    requests_of_many: list[GoldenRequest], many_centroids: _ManyCentroids
) -> None:
    none, decoded = (
        each.inputs["cluster_index"] for each in requests_of_many if each.signature == "decode"
    )
    assert (len(none), len(decoded)) == (0, 256)
    assert decoded[[0, -1]].tolist() == [0, 2**16 - 1]
    assert np.ptp(np.diff(decoded)) <= 1
    (step,) = (each for each in requests_of_many if each.signature == "fit_step")
    assert step.inputs["centroids"].shape == (2, 16, 128)
    np.testing.assert_array_equal(step.inputs["centroids"][0, -1], many_centroids.places[-1])


def test_of_many_clusters_every_kind_is_asked_and_less_is_found_to_lack(
    requests_of_many: list[GoldenRequest],
) -> None:
    assert [len(batch) for batch in _batches(requests_of_many, "transform")] == [0, 1, 1, 5]
    assert [len(batch) for batch in _batches(requests_of_many, "assign")][:3] == [0, 1, 16]
    assert golden_requests.find_missing(requests_of_many, 2**16) == []
    without = [each for each in requests_of_many if len(each.inputs.get("cluster_index", [])) == 0]
    assert golden_requests.find_missing(without, 2**16) == [
        "the golden requests lack decode of 256 clusters spread evenly"
    ]


def test_up_to_1024_clusters_all_are_decoded_and_moved() -> None:
    def answer(signature: str, inputs: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        if signature == "decode":
            return {"centroid": np.zeros((len(inputs["cluster_index"]), 1), np.float32)}
        distances = np.ones((len(inputs["points"]), 1024), np.float32)
        distances[:, 0] = 0
        return {"all_distances": distances}

    chosen = golden_requests.choose(np.arange(1000.0)[:, None], 1024, answer)
    assert len(_batches(chosen, "transform")[2]) == 64
    assert len(_batches(chosen, "assign")[2]) == 256
    assert max(len(each.inputs.get("cluster_index", [])) for each in chosen) == 1024
    (step,) = (each for each in chosen if each.signature == "fit_step")
    assert step.inputs["centroids"].shape == (2, 1024, 1)


def test_the_file_has_the_documented_keys_and_reads_without_pickle(tmp_path: Path) -> None:
    requests = [
        GoldenRequest("assign", {"points": np.zeros((2, 1), np.float32)}, {"a": np.arange(2)}),
        GoldenRequest("decode", {"cluster_index": np.zeros(0, np.int32)}, {"b": np.ones((0, 1))}),
    ]
    golden_requests.write(tmp_path, requests)
    with np.load(tmp_path / GOLDEN_FILE, allow_pickle=False) as arrays:
        assert set(arrays.files) == {
            "0/assign/in/points",
            "0/assign/out/a",
            "1/decode/in/cluster_index",
            "1/decode/out/b",
        }
    for before, after in zip(requests, golden_requests.read(tmp_path), strict=True):
        assert before.signature == after.signature
        for here, there in ((before.inputs, after.inputs), (before.outputs, after.outputs)):
            assert here.keys() == there.keys()
            for name in here:
                assert here[name].dtype == there[name].dtype
                np.testing.assert_array_equal(here[name], there[name])


def test_more_than_ten_requests_keep_their_order(tmp_path: Path) -> None:
    requests = [GoldenRequest(f"s{i}", {"x": np.array([i])}) for i in range(12)]
    golden_requests.write(tmp_path, requests)
    assert [request.signature for request in golden_requests.read(tmp_path)] == [
        f"s{i}" for i in range(12)
    ]


def _save(path: Path, key: str, array: NDArray[Any]) -> None:
    arrays: dict[str, Any] = {key: array}
    np.savez_compressed(path, **arrays)


def _write_cut(path: Path) -> None:
    _save(path, "0/assign/in/points", np.zeros(1000))
    path.write_bytes(path.read_bytes()[:-40])


def _write_flipped(path: Path) -> None:
    _save(path, "0/assign/in/points", np.random.default_rng(0).random(1000))
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)


def _npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "spoil",
    [
        _write_cut,
        _write_flipped,
        lambda path: _save(path, "0/assign/in/points", np.array([{}])),  # pickled
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not an archive"),
        lambda path: path.write_bytes(_npy()),
        lambda path: _save(path, "other", np.zeros(1)),
        lambda path: _save(path, "0/assign/sideways/points", np.zeros(1)),
        lambda path: zipfile.ZipFile(path, "w").close(),
    ],
)
def test_a_corrupt_file_is_one_line_that_names_it(tmp_path: Path, spoil: Any) -> None:
    path = tmp_path / GOLDEN_FILE
    path.parent.mkdir()
    spoil(path)
    with pytest.raises(InvalidCandidate, match=r"golden_requests\.npz") as refused:
        golden_requests.read(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_version_without_golden_requests_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidCandidate, match=f"{tmp_path}: no golden requests"):
        golden_requests.read(tmp_path)
