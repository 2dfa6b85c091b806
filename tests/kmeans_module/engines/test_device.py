"""The engine ``device``, on CPUs: its bits, its blocks, several devices, and what it refuses."""

import json
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from kmeans_module import (
    DeviceMemoryExhausted,
    InvalidParameter,
    NoSuchDevice,
    RowSource,
    devices,
    fit,
)
from kmeans_module.device_seeding import searches_on
from kmeans_module.engines import choice, device
from kmeans_module.engines.choice import choose_placement, new_engine
from kmeans_module.engines.device import Devices, DeviceShard, Room
from kmeans_module.engines.device_step import BlockShape, DeviceRows, step_program
from kmeans_module.initialization import initial_centroids
from kmeans_module.model_space import enter
from kmeans_module.weighted_rows import WeightedRows, weigh

from ..fit_bits import digest_without_rows
from ..problems import Float32, assignments, blobs

#: So much is too little for all of 3,000 rows of three numbers, and enough for some blocks.
LITTLE = 100_000


def rows_of(points: Float32) -> WeightedRows:
    weight = np.ones(len(points), np.float32)
    space = enter(points, weight, standardize=False)
    return weigh(space.rows, weight, space.largest)


@pytest.fixture(scope="module")
def on_cores() -> str:
    return digest_without_rows(fit(blobs(3000, 3, 20), 20, n_init=1, engine="matmul", max_iter=9))


@pytest.mark.parametrize("options", [{}, {"device_memory": LITTLE}], ids=["stays", "passes"])
def test_a_fit_ends_in_the_bits_of_the_cores(options: dict[str, Any], on_cores: str) -> None:
    found = fit(blobs(3000, 3, 20), 20, n_init=1, engine="device", max_iter=9, **options)
    assert (found.engine, found.device) == ("device", "/CPU:0")
    assert found.is_copied_anew == bool(options)
    assert digest_without_rows(found) == on_cores
    assert (
        (assignments(found) == found.module.assign(points=blobs(3000, 3, 20))["cluster_index"])
        .numpy()
        .all()
    )


def test_rows_that_do_not_fit_are_cut_into_blocks_that_do() -> None:
    assert Room.find(3000, 3, 20, 1, "/CPU:0", None) == Room(4096, stays=True)
    room = Room.find(3000, 3, 20, 1, "/CPU:0", LITTLE)
    assert not room.stays
    assert 128 <= room.m < 3000
    assert Room.find(12_000, 8, 8, 1, "/CPU:0", 1_020_000) == Room(1024, stays=True)
    whole = Room.find(10**7, 128, 1024, 1, "/GPU:0", 70 * 10**9)
    assert whole.stays
    assert whole.m * 128 <= 2**26


def test_too_little_device_memory_is_refused_with_the_bytes_that_are_enough() -> None:
    points = blobs(300, 3, 4)
    with pytest.raises(
        InvalidParameter, match=r"^device_memory is 1, and a block of rows of 3 features and 4 "
    ) as caught:
        fit(points, 4, engine="device", device_memory=1)
    enough = re.search(r"needs (\d+) bytes; give at least that$", str(caught.value))
    assert enough is not None
    with pytest.raises(InvalidParameter, match=r"^device_memory is "):
        fit(points, 4, engine="device", device_memory=int(enough[1]) - 1)
    fit(points, 4, engine="device", device_memory=int(enough[1]), max_iter=2)


def test_a_device_without_room_for_a_block_is_refused_with_what_it_has_and_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device, "memory_of", lambda _: 1000)
    with pytest.raises(
        DeviceMemoryExhausted,
        match=r"^device /CPU:0 has 1,000 bytes left, and a block .* needs [\d,]+; end other",
    ):
        fit(blobs(300, 3, 4), 4, engine="device")


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[DeviceRows]:
    """The blocks that fits copy to a device, as they come there."""
    found: list[DeviceRows] = []
    place = DeviceShard._place

    def note(shard: DeviceShard, first: int, last: int) -> DeviceRows:
        found.append(place(shard, first, last))
        return found[-1]

    monkeypatch.setattr(DeviceShard, "_place", note)
    return found


def test_rows_are_copied_once_a_fit_though_they_take_what_the_device_had_free(
    copied: list[DeviceRows], monkeypatch: pytest.MonkeyPatch
) -> None:
    def free(_: str) -> int:
        return 6_500_000 - sum(4 * int(tf.size(each)) for block in copied for each in block)

    monkeypatch.setattr(device, "memory_of", free)
    fit(blobs(40_000, 8, 8), 8, n_init=2, max_iter=2, engine="device")
    assert sum(int(block.count) for block in copied) == 40_000


def test_the_candidates_of_k_means_parallel_are_sought_in_the_same_copy_of_the_rows(
    copied: list[DeviceRows],
) -> None:
    options: dict[str, Any] = {"init": "k-means||", "n_init": 1, "max_iter": 2}
    fit(blobs(40_000, 8, 64), 64, engine="device", device_memory=4_600_000, **options)
    assert sum(int(block.count) for block in copied) == 40_000


def test_a_device_that_runs_out_of_memory_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run_out(*_: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "out of memory\nallocating a tensor")

    monkeypatch.setattr(device, "device_step", lambda _: run_out)
    with pytest.raises(DeviceMemoryExhausted, match=r"device='cpu'$") as caught:
        fit(blobs(300, 3, 4), 4, engine="device")
    assert "300 rows of 3 features and 4 clusters; give device_memory" in str(caught.value)


@pytest.mark.parametrize(
    "said",
    ["Failed copying input tensor: Dst tensor is not initialized.", "CUDA: Out of memory at 0"],
)
def test_a_device_that_is_full_when_rows_are_copied_is_named_in_one_line(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, real = rows_of(blobs(300, 3, 4)), tf.constant

    def be_full(value: Any, *others: Any, **options: Any) -> tf.Tensor:
        if np.shape(value) == (512, 3):
            raise tf.errors.InternalError(None, None, said)
        return real(value, *others, **options)

    monkeypatch.setattr(tf, "constant", be_full)
    engine = new_engine("device", rows, 4)
    with pytest.raises(DeviceMemoryExhausted, match="no memory left for 300 rows of 3 features"):
        engine.step(rows.points.placed(0, 4))


def test_an_internal_error_of_another_kind_is_not_taken_for_a_full_device() -> None:
    with pytest.raises(tf.errors.InternalError), devices.on_device("/CPU:0", "rows"):
        raise tf.errors.InternalError(None, None, "ptxas was not found")


def test_a_gpu_that_is_hidden_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: [gpu])
    placed = choose_placement("auto", "auto", None, 10**6, 16, 64, is_streamed=False)
    assert (placed.engine, placed.where) == ("bounds", "cpu")


def test_parts_on_several_devices_add_up() -> None:
    rows = rows_of(blobs(3000, 3, 20))
    one, three = (new_engine("device", rows, 20, Devices(("/CPU:0",) * parts)) for parts in (1, 3))
    centroids = rows.points.placed(100, 120)
    for _ in range(3):
        found, expected = three.step(centroids), one.step(centroids)
        assert found.clusters.equals(expected.clusters)
        assert found.has_changed == expected.has_changed
        for ours, theirs in zip(three.farthest(5), one.farthest(5), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        ended, known = three.finish(centroids), one.finish(centroids)
        np.testing.assert_array_equal(ended.assignments, known.assignments)
        np.testing.assert_array_equal(ended.inertia.limbs, known.inertia.limbs)
    assert not found.has_changed


@pytest.mark.parametrize("form", ["weighted", "ties", "wide"])
@pytest.mark.parametrize("init", ["k-means++", "k-means||"])
def test_the_first_centroids_are_those_that_the_cores_draw(init: str, form: str) -> None:
    rng = np.random.default_rng(1)
    points = blobs(3000, 12 if form == "wide" else 3, 20)
    weight = np.ones(3000, np.float32)
    if form == "weighted":
        weight = rng.uniform(0, 3, 3000).astype("f4")
        weight[::7], points[7] = 0, 1e25
    elif form == "ties":
        points = rng.integers(-3, 4, (3000, 3)).astype("f4")
    space = enter(points, weight, standardize=False)
    rows = weigh(space.rows, weight, space.largest)
    seed = np.array([3, 4], np.int32)
    expected = initial_centroids(init, rows, 20, seed)
    for some in (Devices(("/CPU:0",) * 2), Devices(("/CPU:0",), 2 * LITTLE)):
        found = initial_centroids(init, rows, 20, seed, searches_on(some))
        assert found.tobytes() == expected.tobytes()


_TWO_DEVICES = """
import json, sys
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from kmeans_module import RowSource, fit
from kmeans_module.devices import memory_limits
from tests.kmeans_module.fit_bits import digest_without_rows
from tests.kmeans_module.problems import blobs

points, found = blobs(3000, 3, 20), {}
options = {"n_init": 1, "max_iter": 9}
for device in ("cpu", "/CPU:1", "/device:cpu:1,/CPU:0"):
    result = fit(points, 20, engine="device", device=device, **options)
    found[device] = [result.device, digest_without_rows(result)]
source = RowSource.from_array(points)
result = fit(source, 20, init=points[:20], engine="device", device="cpu", **options)
limits = {name: limit > 0 for name, limit in memory_limits().items()}
print(json.dumps([found, digest_without_rows(result), limits]))
"""


def test_two_devices_end_in_the_bits_of_the_cores(on_cores: str) -> None:
    command = [sys.executable, "-c", _TWO_DEVICES]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found, streamed, limits = json.loads(done.stdout)
    assert found == {
        "cpu": ["/CPU:0,/CPU:1", on_cores],
        "/CPU:1": ["/CPU:1", on_cores],
        "/device:cpu:1,/CPU:0": ["/CPU:1,/CPU:0", on_cores],
    }
    points = blobs(3000, 3, 20)
    given = fit(RowSource.from_array(points), 20, init=points[:20], max_iter=9, engine="matmul")
    assert streamed == digest_without_rows(given)
    assert limits == {"/CPU:0": True, "/CPU:1": True}


def test_the_product_asks_for_float32s_own_precision() -> None:
    text = step_program(BlockShape(512, 3, 4, 1, 128), "hlo")
    (product,) = (line for line in text.splitlines() if " dot(" in line and "f32[" in line)
    assert "operand_precision={highest,highest}" in product


@pytest.mark.parametrize(
    ("asked", "named"),
    [("gpu", "'gpu'"), ("/GPU:1", "'/GPU:1'"), ("/CPU:0,/CPU:7", "'/CPU:7'")],
)
def test_a_device_that_is_not_there_is_refused_with_those_that_are(asked: str, named: str) -> None:
    with pytest.raises(NoSuchDevice, match=rf"^device is {named}, .*; available: /CPU:0$"):
        fit(blobs(300), 3, device=asked)


@pytest.mark.parametrize("asked", ["tpu", "/GPU", "", "/CPU:0,", "/CPU:0,/cpu:0", 0, None])
def test_what_names_no_device_is_refused_in_one_line(asked: object) -> None:
    with pytest.raises(InvalidParameter, match=r"^(unknown )?device "):
        fit(blobs(300), 3, device=asked)  # type: ignore[arg-type]


def test_an_engine_of_the_cores_takes_no_steps_on_a_device() -> None:
    with pytest.raises(InvalidParameter, match=r"^engine is 'matmul', which the cores run"):
        fit(blobs(300), 3, engine="matmul", device="/CPU:0")
    with pytest.raises(InvalidParameter, match=r"^device_memory is 0"):
        fit(blobs(300), 3, device_memory=0)
    with pytest.raises(InvalidParameter, match=r"^device_memory is 5, and device is 'cpu', which"):
        fit(blobs(300), 3, device="cpu", device_memory=5)
    assert fit(blobs(300), 3, device="auto", device_memory=5).device == "cpu"


def test_a_fit_goes_to_the_gpus_by_itself_where_products_are_worth_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def placed(device: str, n: int, engine: str = "auto") -> tuple[str, str]:
        found = choose_placement(engine, device, None, n, 16, 64, is_streamed=False)
        return found.engine, found.where

    assert placed("auto", 10**6) == ("bounds", "cpu")
    monkeypatch.setattr(choice, "has_gpu", lambda: True)
    monkeypatch.setattr(devices, "devices_of", lambda kind: (f"/{kind}:0", f"/{kind}:1"))
    assert placed("auto", 10**6) == ("device", "/GPU:0,/GPU:1")
    assert placed("auto", 10**4) == ("plain", "cpu")
    assert placed("gpu", 10**4) == ("device", "/GPU:0,/GPU:1")
    assert placed("/gpu:1", 10**4) == ("device", "/GPU:1")
    assert placed("cpu", 10**6) == placed(" CPU ", 10**6) == ("bounds", "cpu")
    assert placed("/gpu:1 , GPU:0", 10**6) == ("device", "/GPU:1,/GPU:0")
    assert placed("auto", 10**6, "bounds") == ("bounds", "cpu")
    assert placed("auto", 600, "device") == ("device", "/GPU:0,/GPU:1")
    assert placed("cpu", 600, "device") == ("device", "/CPU:0,/CPU:1")
    # One has all rows where they are few.
    assert placed("gpu", 500) == ("device", "/GPU:0")
