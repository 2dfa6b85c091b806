"""Lloyd steps on devices: the engine ``device``.

The rows are copied to the memory of the device once for all starts of a fit, in the model's space,
in blocks of one shape, so that one kernel is compiled. A device that cannot hold them is given the
blocks anew in each step, each while the one before is worked on. Of a step come back its sums, a
number a block, and the few rows that float64 leaves undecided, which are decided where all other
engines decide them.

What needs the distance of each row, the inertia at the end and the rows that are farthest from
their centroids, is taken by the cores from the rows where they lie, in the one order of its sums.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple, Self
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..array_types import Float32
from ..blocks import block_ranges, power_of_two_rows
from ..cluster_sums import ClusterSums, sum_rows, sums_shapes
from ..cores import core_ranges, one_ahead
from ..devices import cut_rows, kind_of, memory_of, on_device
from ..errors import DeviceMemoryExhausted, InvalidParameter
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

#: And of a row of a block that is worked on: the numbers and the errors of the step.
_BYTES_OF_STEP: Final = 32

#: Bytes of a row of which its block has gone: cluster before and after, undecided or not.
_BYTES_OF_PASSED: Final = 12


class Room(NamedTuple):
    """The layout of rows on a device.

    Attributes:
        m: rows of a block, a power of two.
        stays: whether the device holds all blocks.
    """

    m: int
    stays: bool

    @classmethod
    def find(cls, n: int, d: int, k: int, limbs: int, device: str, memory: int | None) -> "Room":
        """The room for n rows and at most k clusters.

        Args:
            memory: bytes of the device that may be used; None: as many as it takes.

        Raises:
            TooLittleMemory: the smallest blocks do not fit.
        """
        most = power_of_two_rows(d, _BLOCK_NUMBERS, least=128, most=_BLOCK_ROWS)
        most = min(most, max(1 << (n - 1).bit_length(), 128))
        if memory is None:
            return cls(most, stays=True)
        # Small blocks that stay are better than large ones that come and go.
        sizes = [128 << power for power in range((most // 128).bit_length())]
        rooms = [cls(m, stays) for stays in (True, False) for m in reversed(sizes)]
        needed = [room.bytes_needed(n, d, k, limbs, device) for room in rooms]
        fitting = (room for room, size in zip(rooms, needed, strict=True) if size <= memory)
        if (room := next(fitting, None)) is None:
            raise TooLittleMemory(min(needed))
        return room

    def bytes_needed(self, n: int, d: int, k: int, limbs: int, device: str) -> int:
        """About how many bytes of the device n rows and k clusters take."""
        tile = tile_rows(self.m, d, k, kind_of(device))
        step = _step_bytes(BlockShape(self.m, d, k, limbs, tile))
        if self.stays:
            return step + self.bytes_held(n, d)
        blocks = -(-n // self.m)
        here = min(_PASSING, blocks) * (4 * d + _BYTES_OF_ROW) + _BYTES_OF_PASSED * blocks
        return step + self.m * here

    def bytes_held(self, n: int, d: int) -> int:
        """The bytes that n rows occupy on a device."""
        return -(-n // self.m) * self.m * (4 * d + _BYTES_OF_ROW) if self.stays else 0


class TooLittleMemory(Exception):
    """No block fits the bytes that may be used; `Devices` says in which words.

    Attributes:
        needed: bytes of the smallest.
    """

    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.needed = needed


def _step_bytes(shape: BlockShape) -> int:
    """The approximate memory of a step of a block, or of a seeding search, without the rows."""
    scores = 3 * 4 * shape.tile * shape.k
    limbs = 8 * shape.tile * shape.d * (shape.limbs + 1)
    table = 8 * (3 * shape.limbs + 4) * shape.k * (shape.d + 1)
    # k-means++ tries 2 + ln k rows at once, and their products with all rows of a block.
    trials = 2 * 4 * shape.m * (2 + shape.k.bit_length())
    return max(scores + limbs + table, trials) + _BYTES_OF_STEP * shape.m


@dataclass
class DevicePart:
    """A range of rows on a device, for all engines of a fit that work on them.

    Attributes:
        device: its name.
        room: how they lie there.
        taken: bytes of the blocks that stay.
        blocks: these, once they are copied.
    """

    device: str
    room: Room
    taken: int = 0
    blocks: list[DeviceRows] = field(default_factory=list)


class DeviceShard(Shard):
    """Every distance and every sum in every step, on one device.

    Args:
        rows, n_clusters, start, stop: as of any shard.
        part: what the device holds of the range; by default the first CPU, as much as it takes.

    Attributes:
        ranges: the first row of each block, and that after its last.
        stays: whether the device holds all of them.
        device: its name.
    """

    def __init__(
        self,
        rows: WeightedRows,
        n_clusters: int,
        start: int,
        stop: int,
        part: DevicePart | None = None,
    ) -> None:
        super().__init__(rows, n_clusters, start, stop)
        d, n, limbs = self._shape[0], stop - start, self.scale.limbs
        self._held = f"{n:,} rows of {d} features and {n_clusters} clusters"
        if part is None:
            part = DevicePart("/CPU:0", Room.find(n, d, n_clusters, limbs, "/CPU:0", None))
        self._part, self.device, (m, self.stays) = part, part.device, part.room
        tile = tile_rows(m, d, n_clusters, kind_of(self.device))
        self._block = BlockShape(m, d, n_clusters, limbs, tile)
        self.ranges = list(block_ranges(start, stop, m))
        self._step = device_step(self._block)
        with on_device(self.device, self._held):
            self._sample = sample_norms(as_numpy(self._norms))
            self._scale_tensor = rows.scale.tensor()
            self._index = [tf.fill([m], NO_CLUSTER) for _ in self.ranges]
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
        if not self._part.blocks:
            self._part.blocks = list(one_ahead(self._place, self.ranges))
        return iter(self._part.blocks)

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


class Devices:
    """The devices that run the steps of a fit, and their parts of the rows.

    How rows lie there is decided once, before the first of them is there; so seeding and all starts
    have the same blocks.

    Args:
        names: of the devices; none where the cores take the steps.
        memory: bytes of each that may be used; None: what `memory_of` says at first.
        places: for so many a search for the first centroids asks, if these are more than clusters.
    """

    def __init__(
        self, names: tuple[str, ...] = (), memory: int | None = None, places: int = 0
    ) -> None:
        self.names, self._given, self._places = names, memory, places
        # By the rows, and then by the number of the device and the range.
        self._parts: WeakKeyDictionary[WeightedRows, dict[tuple[int, int, int], DevicePart]]
        self._parts = WeakKeyDictionary()

    @cached_property
    def memory(self) -> list[int | None]:
        """Bytes of each device that the fit may use, rows that it has there among them."""
        return [memory_of(name) if self._given is None else self._given for name in self.names]

    def part(
        self, number: int, rows: WeightedRows, n_clusters: int, start: int, stop: int
    ) -> DevicePart:
        """Return the part of a range of rows on a device, by its number; nothing is copied yet.

        Raises:
            DeviceMemoryExhausted: the device has no memory left for a block.
            InvalidParameter: `memory` was given, and is too little for one.
        """
        parts = self._parts.setdefault(rows, {})
        place = number, start, stop
        if place not in parts:
            room = self._find_room(number, rows, n_clusters, stop - start)
            taken = room.bytes_held(stop - start, len(rows.points.shift))
            parts[place] = DevicePart(self.names[number], room, taken)
        return parts[place]

    def hold(self, rows: WeightedRows) -> bool:
        """Whether the devices hold all of these rows, or no rows were requested."""
        return all(part.room.stays for part in self._parts.get(rows, {}).values())

    def shards_of_blocks(self) -> list[Callable[[WeightedRows, int, int, int], DeviceShard]]:
        """Return the shards for blocks of a source, one per device; the first is the largest."""
        return [self._shard_of_blocks(number) for number in range(len(self.names))]

    def _shard_of_blocks(self, number: int) -> Callable[[WeightedRows, int, int, int], DeviceShard]:
        room: Room | None = None

        def shard(rows: WeightedRows, n_clusters: int, start: int, stop: int) -> DeviceShard:
            nonlocal room
            if room is None:
                room = self._find_room(number, rows, n_clusters, stop - start)
            return DeviceShard(rows, n_clusters, start, stop, DevicePart(self.names[number], room))

        return shard

    def _find_room(self, number: int, rows: WeightedRows, n_clusters: int, n: int) -> Room:
        device, memory, k = self.names[number], self.memory[number], max(n_clusters, self._places)
        taken = sum(
            part.taken
            for known in self._parts.values()
            for (other, _, _), part in known.items()
            if other == number
        )
        d = len(rows.points.shift)
        free = None if memory is None else memory - taken
        try:
            return Room.find(n, d, k, rows.scale.limbs, device, free)
        except TooLittleMemory as error:
            block, needed = (
                f"a block of rows of {d} features and {n_clusters} clusters",
                error.needed,
            )
            if self._given is None:
                raise DeviceMemoryExhausted(device, block, (free or 0, needed)) from None
            raise InvalidParameter(
                f"device_memory is {self._given}, and {block} needs {needed + taken} bytes; give "
                "at least that"
            ) from None


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
        ranges = cut_rows(0, rows.n, len(devices.names))
        self.parts = [
            DeviceShard(rows, n_clusters, *part, devices.part(number, rows, n_clusters, *part))
            for number, part in enumerate(ranges)
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
        """The assignments of the last step, int32 [n]."""
        return np.concatenate([part.assignments() for part in self.parts])

    def _on_cores(self) -> ShardedEngine:
        """Return the CPU engine with the state after the last step."""
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
