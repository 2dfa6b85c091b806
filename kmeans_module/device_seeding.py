"""Initialization with the searches over all rows on devices; the draws are the same as on the CPU.

k-means++ draws by squared distances, float32 sums from ``x - c`` in the order of a stock operation
on the CPU. So a device finds the rows that may be nearer to a candidate, by a matrix product and
the bound of its rounding error, and the CPU computes the distances of these rows only: all rows at
first, about one in i for the i-th centroid. Masses are integers, which the device sums.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .array_types import Float32
from .blocks import block_ranges, rows_per_block
from .devices import on_device
from .engines.device import DeviceEngine, Devices, DeviceShard, nearest_on
from .engines.device_step import (
    DeviceRows,
    find_places,
    float32_product,
    places_taker,
    row_numbers,
    rows_spec,
    value_putter,
)
from .engines.plain import ScoreTile
from .engines.score_rounding import score_errors
from .graphs import INT, synchronized_cache, trace
from .greedy_drawing import Drawing, Int64, Nearer, RowRange, find_nearer, gains_of
from .initialization import Searches, greedy_k_means_plus_plus
from .quiet_tensorflow import tf
from .rows import as_numpy, place_rows
from .weighted_rows import WeightedRows

_HELD: Final = "the distances of the rows to those drawn"
_SCALE: Final = tf.TensorSpec([], tf.float64)
_MASS: Final = tf.TensorSpec([], tf.int64)


def searches_on(devices: Devices) -> Searches:
    """The searches of `initial_centroids` on these devices."""
    return Searches(partial(_draw_greedily, devices), partial(nearest_on, devices))


def _draw_greedily(
    devices: Devices, rows: WeightedRows, n_clusters: int, seed: tf.Tensor
) -> NDArray[np.int32]:
    """Draw like `greedy_k_means_plus_plus`, which is used if a device cannot hold the rows."""
    parts = DeviceEngine(rows, n_clusters, devices).parts
    if not all(part.stays for part in parts):
        return greedy_k_means_plus_plus(rows, n_clusters, seed)
    return _Drawing(rows, parts).draw_centroids(n_clusters, seed)


class _Block(RowRange):
    """A block of rows on a device, with the squared distances to the nearest drawn row.

    Args:
        device: the name of the device.
        first: the number of the first row.
        rows: the rows on the device.
    """

    def __init__(self, device: str, first: int, rows: DeviceRows) -> None:
        self.first, self._device, self._rows = first, device, rows
        self.m = int(rows.weight.shape[0])
        self._kernels = _block_kernels(self.m)
        self.fill(1.0)

    def fill(self, value: float) -> None:
        with on_device(self._device, _HELD):
            self._squared = tf.fill([self.m], value)

    def largest(self) -> tf.Tensor:
        with on_device(self._device, _HELD):
            return self._kernels.largest(self._rows.weight, self._squared)

    def mass(self, scale: float) -> tf.Tensor:
        with on_device(self._device, _HELD):
            known = self._rows.weight, self._squared, tf.constant(scale, tf.float64)
            return self._kernels.mass(*known)

    def row_at(self, scale: float, mass: int) -> int:
        with on_device(self._device, _HELD):
            known = self._rows.weight, self._squared, tf.constant(scale, tf.float64)
            place = tf.constant(mass, tf.int64)
            return self.first + int(self._kernels.row(*known, self._rows.count, place))

    def may_be_nearer(self, places: Float32) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the numbers in the block of the rows that may be nearer to a place, and their
        count.
        """
        kernel = _near_kernel(self.m, *places.shape)
        with on_device(self._device, _HELD):
            found: tuple[tf.Tensor, tf.Tensor]
            found = kernel(self._rows, self._squared, tf.constant(places))
        return found

    def take(self, numbers: tf.Tensor, count: int) -> Int64:
        """Return the numbers of the first ``count`` rows among all rows: int64 [count]."""
        if not count:
            return np.empty(0, np.int64)
        with on_device(self._device, _HELD):
            first = places_taker(self.m, _width(count, self.m))(numbers)
            numbers_of_all: Int64 = self.first + first.numpy()[:count].astype(np.int64)
        return numbers_of_all

    def put(self, rows: Int64, squared: Float32) -> None:
        """Set the squared distances of the rows, in ascending order, that are in the block."""
        start, stop = np.searchsorted(rows, [self.first, self.first + self.m])
        if start == stop:
            return
        width = _width(int(stop - start), self.m)
        numbers, values = np.full(width, self.m, np.int32), np.zeros(width, np.float32)
        numbers[: stop - start] = rows[start:stop] - self.first
        values[: stop - start] = squared[start:stop]
        kernel = value_putter(self.m, width, tf.float32)
        with on_device(self._device, _HELD):
            self._squared = kernel(self._squared, tf.constant(numbers), tf.constant(values))


def _width(count: int, m: int) -> int:
    """The padded size of ``count`` numbers, so that few sizes need compilation."""
    return min(max(1 << (count - 1).bit_length(), 1024), m)


class _Drawing(Drawing[_Block]):
    """Rows on devices, for greedy draws."""

    def __init__(self, rows: WeightedRows, parts: Sequence[DeviceShard]) -> None:
        blocks = [
            _Block(part.device, first, block)
            for part in parts
            for (first, _), block in zip(part.ranges, part.blocks(), strict=True)
        ]
        super().__init__(len(rows.points.array), blocks)
        self._rows, self._weight = rows, as_numpy(rows.weight)
        self._squared = np.empty(len(self._weight), np.float32)
        self._nearer: list[Nearer] = []

    def _fill(self, value: float) -> None:
        self._squared[:] = value
        for block in self._ranges:
            block.fill(value)

    def _try_rows(self, candidates: Sequence[int]) -> Int64:
        points, norms = self._rows.points, as_numpy(self._rows.norms)
        places = points.gather(np.array(candidates))
        near = self._may_be_nearer(places)
        block = rows_per_block(max(places.shape))
        tile = ScoreTile(places.shape[1], len(places), block)
        self._nearer = []
        for start, stop in block_ranges(0, len(near), block):
            rows = near[start:stop]
            taken = place_rows(points.gather(rows))
            found = find_nearer(tile, taken, norms[rows], self._squared[rows], places)
            self._nearer += [Nearer(place, rows[row], squared) for place, row, squared in found]
        return gains_of(self._nearer, self._squared, self._weight, self._scale, len(places))

    def _move_closer(self, chosen: int) -> None:
        for place, row, squared in self._nearer:
            moved = np.flatnonzero(place == chosen)
            moved = moved[np.argsort(row[moved])]
            self._squared[row[moved]] = squared[moved]
            for block in self._ranges:
                block.put(row[moved], squared[moved])

    def _may_be_nearer(self, places: Float32) -> Int64:
        """Return the ascending numbers of all rows that may be nearer to a place: int64 [r]."""
        found = [block.may_be_nearer(places) for block in self._ranges]
        return np.concatenate(
            [
                block.take(numbers, int(count))
                for block, (numbers, count) in zip(self._ranges, found, strict=True)
            ]
        )


class _BlockKernels(NamedTuple):
    """Kernels for the masses of m rows.

    Attributes:
        largest: returns the largest product of weight and squared distance.
        mass: returns the sum of the masses, given also the scale.
        row: returns the row at which the cumulative mass exceeds a mass, given also the number of
            rows and the mass.
    """

    largest: Callable[..., Any]
    mass: Callable[..., Any]
    row: Callable[..., Any]


@synchronized_cache
def _block_kernels(m: int) -> _BlockKernels:
    numbers = tf.TensorSpec([m], tf.float32)

    def largest(weight: tf.Tensor, squared: tf.Tensor) -> tf.Tensor:
        return tf.reduce_max(_weighted(squared, weight))

    def mass(weight: tf.Tensor, squared: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(_masses(squared, weight, scale))

    def row(
        weight: tf.Tensor,
        squared: tf.Tensor,
        scale: tf.Tensor,
        count: tf.Tensor,
        place: tf.Tensor,
    ) -> tf.Tensor:
        until = tf.cumsum(_masses(squared, weight, scale))
        before = tf.reduce_sum(tf.cast(until <= place, tf.int32))
        return tf.minimum(before, count - 1)

    known = [numbers, numbers, _SCALE]
    return _BlockKernels(
        trace(largest, known[:2], is_compiled=True),
        trace(mass, known, is_compiled=True),
        trace(row, [*known, INT, _MASS], is_compiled=True),
    )


@synchronized_cache
def _near_kernel(m: int, t: int, d: int) -> Callable[..., Any]:
    """Make the kernel that finds the rows that may be nearer to a place than before.

    Returns:
        A function of a block of m rows, their squared distances float32 [m], and places float32
        [t, d]. It returns the numbers of the rows, int32 [m], padded with zeros, and their count.
        It includes every row that is nearer, for any order of summation in the product.
    """

    def find(rows: DeviceRows, before: tf.Tensor, places: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        reach = tf.reduce_sum(tf.square(places), 1) + tf.square(rows.norms)[:, None]
        expanded = reach - 2.0 * float32_product(rows.points, places)
        errors, spreads = score_errors(rows.norms, places, d)
        # See `find_nearer`.
        least = expanded - 2.0 * spreads
        is_farther = tf.reduce_all(least > (before + 2.0 * errors)[:, None], 1)
        numbers = row_numbers(rows)
        return find_places(tf.logical_not(is_farther) & (numbers < rows.count), numbers)

    signature = [rows_spec(m, d), tf.TensorSpec([m], tf.float32), tf.TensorSpec([t, d], tf.float32)]
    return trace(find, signature, is_compiled=True)


def _weighted(squared: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Squared distances float32 [m] times weights float32 [m], 0 for the weight 0: float64 [m]."""
    return tf.math.multiply_no_nan(tf.cast(squared, tf.float64), tf.cast(weight, tf.float64))


def _masses(squared: tf.Tensor, weight: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """`_weighted` as integers: int64 [m]."""
    return tf.cast(_weighted(squared, weight) * scale, tf.int64)
