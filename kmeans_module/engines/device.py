"""Lloyd steps on devices: the engine ``device``.

The rows are copied to the memory of the device once for all starts of a fit, in the model's space,
in blocks of one shape, so that one kernel is compiled. A device that cannot hold them is given the
blocks anew in each step, each while the one before is worked on. Of a step come back its sums, a
number a block, and the few rows that float64 leaves undecided, which are decided where all other
engines decide them.

What needs the distance of each row, the inertia at the end and the rows that are farthest from
their centroids, is taken by the cores from the rows where they lie, in the one order of its sums.
"""

from collections.abc import Iterator
from functools import cache
from typing import ClassVar, Final, NamedTuple, Self
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..array_types import Float32
from ..blocks import block_ranges, power_of_two_rows
from ..cluster_sums import ClusterSums, sum_rows, sums_shapes
from ..cores import core_ranges, one_ahead
from ..devices import cut_rows, kind_of, memory_of, on_device
from ..errors import DeviceMemoryExhausted
from ..quiet_tensorflow import tf
from ..rows import as_numpy
from ..weighted_rows import WeightedRows
from .device_step import (
    BlockShape,
    DeviceRows,
    device_step,
    places_taker,
    tile_rows,
    value_putter,
    value_taker,
)
from .engine import Engine, FarRows, FinalState, StepSums
from .near_ties import decide
from .score_rounding import sample_norms
from .sharded import NO_CLUSTER, Shard, ShardedEngine

#: Numbers of a block, and rows of it at most: its room beyond the rows is at most that.
_BLOCK_NUMBERS: Final = 2**26
_BLOCK_ROWS: Final = 2**22

#: Of blocks that come and go, so many are on the device at the same time.
_PASSING: Final = 3

#: Bytes of a row beside its numbers: weight and norm, cluster before and after, undecided or not.
_BYTES_OF_ROW: Final = 24

_Blocks = list[DeviceRows]

#: Blocks that stay on a device, for all starts of a fit: by the rows, and then by the place.
_staying: "WeakKeyDictionary[WeightedRows, dict[tuple[str, int, int, int], _Blocks]]" = (
    WeakKeyDictionary()
)


class Room(NamedTuple):
    """How rows lie on a device.

    Attributes:
        shape: of a block.
        stays: whether the device holds all blocks.
    """

    shape: BlockShape
    stays: bool

    @classmethod
    def find(cls, n: int, d: int, k: int, limbs: int, device: str, memory: int | None) -> "Room":
        """The room for n rows, where so many bytes may be used; None: as many as it takes.

        Raises:
            DeviceMemoryExhausted: the smallest blocks do not fit.
        """
        m = power_of_two_rows(d, _BLOCK_NUMBERS, least=128, most=_BLOCK_ROWS)
        m = min(m, max(1 << (n - 1).bit_length(), 128))
        while True:
            shape = BlockShape(m, d, k, limbs, tile_rows(m, d, k, kind_of(device)))
            room = 0 if memory is None else memory - _step_bytes(shape)
            of_row, blocks = 4 * d + _BYTES_OF_ROW, -(-n // m)
            if memory is None or blocks * m * of_row <= room:
                return cls(shape, stays=True)
            if _PASSING * m * of_row + 8 * blocks * m <= room:
                return cls(shape, stays=False)
            if m == 128:
                held = f"a block of rows of {d} features and {k} clusters"
                raise DeviceMemoryExhausted(device, held)
            m //= 2


def _step_bytes(shape: BlockShape) -> int:
    """About what the step of a block needs beside the rows."""
    scores = 3 * 4 * shape.tile * shape.k
    limbs = 8 * shape.tile * shape.d * (shape.limbs + 1)
    table = 8 * (3 * shape.limbs + 4) * shape.k * (shape.d + 1)
    return scores + limbs + table


class DeviceShard(Shard):
    """Every distance and every sum in every step, on one device.

    Attributes:
        ranges: the first row of each block, and that after its last.
        stays: whether the device holds all of them.
        device: its name.
        memory: bytes of it that may be used; None: as many as it takes.
    """

    device: ClassVar[str] = "/CPU:0"
    memory: ClassVar[int | None] = None

    def __init__(self, rows: WeightedRows, n_clusters: int, start: int, stop: int) -> None:
        super().__init__(rows, n_clusters, start, stop)
        d, n = self._shape[0], stop - start
        self._held = f"{n:,} rows of {d} features and {n_clusters} clusters"
        room = Room.find(n, d, n_clusters, self.scale.limbs, self.device, self.memory)
        self._block, self.stays = room.shape, room.stays
        self.ranges = list(block_ranges(start, stop, room.shape.m))
        self._step = device_step(room.shape)
        with on_device(self.device, self._held):
            self._sample = sample_norms(as_numpy(self._norms))
            self._scale_tensor = rows.scale.tensor()
            self._index = [tf.fill([room.shape.m], NO_CLUSTER) for _ in self.ranges]
        self._is_settled = True

    def _assign(self, centroids: Float32) -> StepSums:
        before, self._index = self._index, []
        found: list[tuple[tf.Tensor, ...]] = []
        with on_device(self.device, self._held):
            places = tf.constant(centroids)
            d, k, limbs = self._block[1:4]
            sums = [tf.zeros(shape, tf.int64) for shape in sums_shapes(d, k, limbs)]
            for rows, old in zip(self.blocks(), before, strict=True):
                index, *sums, has_changed, numbers, count = self._step(
                    rows, old, self._sample, self._scale_tensor, places, *sums
                )
                self._index.append(index)
                found.append((has_changed, numbers, count))
            total = ClusterSums.of(sums, self.scale)
            changes = [bool(has_changed.numpy()) for has_changed, _, _ in found]
            for block, (_, numbers, count) in enumerate(found):
                if undecided := int(count.numpy()):
                    moved, some = self._decide_block(
                        block, before[block], numbers, undecided, centroids
                    )
                    changes.append(moved)
                    total = total.plus(some)
        self._is_settled = False
        return StepSums(total, any(changes))

    def _decide_block(
        self,
        block: int,
        before: tf.Tensor,
        numbers: tf.Tensor,
        count: int,
        centroids: Float32,
    ) -> tuple[bool, ClusterSums]:
        """Decide the rows of a block that the device left undecided.

        Args:
            block: its number.
            before: int32 [m], the clusters before the step.
            numbers: int32 [m], of which the first ``count`` are those rows.
            count: how many there are.
            centroids: those of the step.

        Returns:
            Whether one has changed its cluster, and their sums.
        """
        m = self._block.m
        width = min(1 << (count - 1).bit_length(), m)
        few = places_taker(m, width)(numbers)
        first, old = few.numpy(), value_taker(m, width)(before, few).numpy()
        chosen = self.ranges[block][0] + first[:count].astype(np.int64)
        decided = decide(self._points, chosen, centroids)
        places, clusters = np.full(width, m, np.int32), np.zeros(width, np.int32)
        places[:count], clusters[:count] = first[:count], decided
        self._index[block] = value_putter(m, width, tf.int32)(
            self._index[block], tf.constant(places), tf.constant(clusters)
        )
        weight = as_numpy(self._weight)[chosen - self._start]
        sums = sum_rows(self._points.gather(chosen), weight, [decided], self._shape[1], self.scale)
        return not np.array_equal(decided, old[:count]), sums

    def _settle(self) -> None:
        if self._is_settled:
            return
        parts = [
            index.numpy()[: last - first]
            for index, (first, last) in zip(self._index, self.ranges, strict=True)
        ]
        self._assignments, self._is_settled = np.concatenate(parts), True

    def blocks(self) -> Iterator[DeviceRows]:
        """The blocks on the device; of those that come and go one is read ahead."""
        if not self.stays:
            return one_ahead(self._place, self.ranges)
        place = self.device, self._start, self._stop, self._block.m
        known = _staying.setdefault(self._rows, {})
        if place not in known:
            known[place] = list(one_ahead(self._place, self.ranges))
        return iter(known[place])

    def _place(self, first: int, last: int) -> DeviceRows:
        """The rows of a block, copied to the device."""
        m, count = self._block.m, last - first
        part = slice(first - self._start, last - self._start)
        points = np.zeros((m, self._shape[0]), np.float32)
        points[:count] = self._points.placed(first, last)
        weight, norms = np.zeros((2, m), np.float32)
        weight[:count], norms[:count] = as_numpy(self._weight)[part], as_numpy(self._norms)[part]
        # It may be another thread than the step's.
        with on_device(self.device, self._held):
            return DeviceRows(*map(tf.constant, (points, weight, norms, np.int32(count))))


@cache
def shard_on(device: str, memory: int | None) -> type[DeviceShard]:
    """`DeviceShard` of this device, of whose memory so many bytes may be used."""
    return type("DeviceShard", (DeviceShard,), {"device": device, "memory": memory})


class Devices(NamedTuple):
    """The devices that take the steps of a fit.

    Attributes:
        names: of the devices; none where the cores take the steps.
        memory: bytes of each that may be used; None: what `memory_of` says.
    """

    names: tuple[str, ...] = ()
    memory: int | None = None

    def shards(self) -> list[type[DeviceShard]]:
        """What takes the steps on each device."""
        return [
            shard_on(name, memory_of(name) if self.memory is None else self.memory)
            for name in self.names
        ]


#: Of the engines that are not ``device``.
ON_CORES: Final = Devices()


class DeviceEngine(Engine):
    """The engine that devices make together, each with a range of the rows.

    Args:
        rows: all of them, which lie in memory.
        n_clusters: k.
        devices: at least one.

    Attributes:
        parts: what the devices hold.
    """

    def __init__(self, rows: WeightedRows, n_clusters: int, devices: Devices) -> None:
        self.scale, self.squares = rows.scale, rows.squares
        self._rows, self._k = rows, n_clusters
        n, shards = len(as_numpy(rows.weight)), devices.shards()
        ranges = cut_rows(0, n, len(shards))
        self.parts = [
            shard(rows, n_clusters, *part) for shard, part in zip(shards, ranges, strict=False)
        ]
        self._on_devices = ShardedEngine(self.parts)
        self._centroids: Float32 = np.empty((0, 0), np.float32)

    def step(self, centroids: Float32) -> StepSums:
        self._centroids = centroids
        return self._on_devices.step(centroids)

    def farthest(self, count: int) -> FarRows:
        return self._on_cores().farthest(count)

    def finish(self, centroids: Float32) -> FinalState:
        if not np.array_equal(centroids, self._centroids):
            self.step(centroids)
        return self._on_cores().finish(centroids)

    def assignments(self) -> NDArray[np.int32]:
        """Those of the last step, int32 [n]."""
        return np.concatenate([part.assignments() for part in self.parts])

    def _on_cores(self) -> ShardedEngine:
        """What the cores know after the last step."""
        known = self.assignments()
        return ShardedEngine(
            [
                _Assigned.of(self._rows, known[first:last], self._centroids, first, last)
                for first, last in core_ranges(len(known))
            ]
        )


class _Assigned(Shard):
    """Rows whose clusters are known: it takes no step."""

    @classmethod
    def of(
        cls,
        rows: WeightedRows,
        assignments: NDArray[np.int32],
        centroids: Float32,
        start: int,
        stop: int,
    ) -> Self:
        """The rows ``start`` to ``stop``, with their clusters int32 [m] of these centroids."""
        shard = cls(rows, len(centroids), start, stop)
        shard._assignments, shard._centroids = assignments, centroids
        return shard

    def _assign(self, centroids: Float32) -> StepSums:
        raise NotImplementedError("the devices take the steps")


def nearest_on(devices: Devices, rows: WeightedRows, places: Float32) -> NDArray[np.int32]:
    """The nearest of the places [p, d] for each row in memory: int32 [n]."""
    engine = DeviceEngine(rows, len(places), devices)
    engine.step(places)
    return engine.assignments()
