"""Assign many rows with one compiled kernel, which marks the rows for the served graph.

The served graph takes requests of any size, and gives its answer in several passes. Over many rows
a kernel that is compiled for one model gives the same in one: it reads the points column by column,
in tiles that stay in a core's own cache. The two round differently. So a row is *decided* only
where neither rounding can show, and all other rows are left to the served graph: each cluster is
the one that it says.

The bound
---------
Let u = 2^-24, ``gamma(n) = n u / (1 - n u)``, x a row of the model's space, X its norm, c a
centroid of norm |c|, and ``S(c) = |c|^2 / 2 - x.c`` its exact score: the nearest has the least. The
kernel and the served graph compute S or -S as a dot product of d terms and a half of a norm, which
is rounded too, in whatever order. Either is off by at most
``gamma(d + 1) (X |c| + |c|^2 / 2)`` (Higham 2002, Accuracy and Stability of Numerical Algorithms,
section 3.1). Rows are mapped into the model's space by the same operations; two units in the last
place of each number are allowed for all the same, which is ``2 u X |c|``. With
``G = 2 gamma(d + 8)``, where the terms that are too many pay for the rounding of what follows, the
two computed scores of a centroid differ by at most

    D(c) = G (X |c| + |c|^2 / 2).

The least score s and any other t of the kernel therefore keep their order in the served graph where
``t - s > D + D'``, and that follows from either of two conditions:

- With C the longest centroid's norm, ``t - s > G (2 X C + C^2)``.
- ``X |c| + |c|^2 / 2 <= X^2 / 2 + |c|^2``, and ``|c|^2 <= (X + |x - c|)^2 <= 4 X^2 + 4 S(c)``, so
  that ``D(c) <= H (4.5 X^2 + 4 s(c))`` with ``H = G / (1 - 4 G)`` and the computed score s(c).
  Hence ``(1 - 4 H) t - (1 + 4 H) s > 9 H X^2`` will do, whose left side grows with t: what holds
  for the second holds for all. It asks nothing of a centroid far out, which would leave every row
  undecided by the first condition.

What is below float32's normal numbers may be taken for 0, by either: that is at most
``2^-126 (d + 2) (1 + X + C)`` in a score, and four times that is added. Nothing overflows where
X^2 and C^2 are below 1e30.

Of some dozens of scores the two least are found by way of a grid, in which the scores lie: of each
row of the grid and of each column there is a least score. Any score but the least of all lies in
another row of the grid than that, or in another column: the second least of all is the second
least of the rows, or that of the columns. Both lists are short.

The distance is that of ``x - c``, squared and summed in float64: it is right to 3 u of itself, or 0
where the row is the centroid. The served graph sums float32 squares, of which those of a squared
distance below 1e-28 lose digits: such a row is not decided.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .array_types import Array, Float32
from .blocks import block_ranges, loop_blocks, power_of_two_rows, rows_per_block
from .engines.nearest_score import single_within
from .graphs import INT, synchronized_cache, trace
from .quiet_tensorflow import tf
from .rows import aligned_empty, as_numpy, share_memory

#: Numbers of a block of rows, and rows at most: 4 MiB, and as many as the two batches that batch
#: scoring asks about at once. Its threads wait less for each other if there are fewer calls.
_BLOCK_NUMBERS: Final = 2**20
_BLOCK_ROWS: Final = 2**16

#: Rows of more numbers gain nothing: the product takes nearly all of the time.
_MOST_FEATURES: Final = 128

#: So many scores are compared in a grid, of 8 rows at most and of 8 columns at least. With fewer or
#: more, what the compiler makes of it takes longer than to look for a single score within reach.
_LEAST_GRID: Final = 32
_LARGEST_GRID: Final = 128

#: The squared norms of rows and centroids that are far from any overflow.
_LARGEST: Final = 1e30

#: No squared distance below this is decided, but 0.
_LEAST_SQUARE: Final = 1e-28

#: The distance of a row that has a cluster, which is left to the served graph.
UNDECIDED: Final = -1.0

#: The distance of a row that may have no cluster, because a number of it is missing or too large,
#: or all are 0 and the model compares directions.
OUT_OF_RANGE: Final = -2.0

_UNIT: Final = 2.0**-24
_SMALLEST: Final = 2.0**-126


class ColumnAssignment:
    """A fitted model that assigns many rows; threads may share it.

    Args:
        centroids: float32 [k, d], in the model's space.
        shift, scale: float32 [d], in raw units.
        distance: "euclidean" or "cosine".
    """

    def __init__(self, centroids: Float32, shift: Float32, scale: Float32, distance: str) -> None:
        k, self._d = centroids.shape
        self._kernel, self._m = _kernel_for(k, self._d, scale, distance)
        places = math.prod(_grid(k))
        wide = centroids.astype(np.float64)
        squares = np.square(wide).sum(axis=1)
        longest = np.sqrt(squares.max()) * (1 + 2 * _UNIT)
        self._has_bound = bool(longest**2 < _LARGEST)
        self._model = tuple(
            tf.constant(each, tf.float32)
            for each in (
                # A place of the grid that is left over has no centroid, and is infinitely far.
                np.pad(centroids, ((0, places - k), (0, 0))),
                np.pad(squares / 2, (0, places - k), constant_values=np.inf),
                longest,
                shift,
                scale,
            )
        )
        self._free: list[tuple[Float32, tf.Tensor]] = []

    def assign(self, points: Array) -> tuple[NDArray[np.int32], Float32]:
        """The nearest centroid of each row, and the distance to it.

        Args:
            points: [n, d] in raw units, as float32 holds them; quickest where each column lies in
                one piece.

        Returns:
            cluster_index int32 [n], and distance float32 [n]. Where the distance is `UNDECIDED` or
            `OUT_OF_RANGE`, the served graph has to be asked; the index is undefined there.
        """
        n = len(points)
        index, distance = np.empty(n, np.int32), np.full(n, OUT_OF_RANGE, np.float32)
        if self._has_bound:
            for start, stop in block_ranges(0, n, self._m):
                rows = slice(start, stop)
                index[rows], distance[rows] = self._assign_block(points[rows])
        return index, distance

    def _assign_block(self, points: Array) -> tuple[NDArray[np.int32], Float32]:
        n = len(points)
        columns, tensor = memory = self._take_memory()
        with np.errstate(over="ignore", invalid="ignore"):
            columns[:, :n] = points.T
        index, distance = self._kernel(tensor, tf.constant(n), *self._model)
        found = as_numpy(index)[:n], as_numpy(distance)[:n]
        self._free.append(memory)
        return found

    def _take_memory(self) -> tuple[Float32, tf.Tensor]:
        """Room for the columns of a block, [d, m], which no other thread uses; as a tensor too."""
        try:
            return self._free.pop()
        except IndexError:
            memory = aligned_empty(self._m * self._d)
            memory[:] = 0  # beyond the rows of the last block too, a kernel reads numbers
            return memory.reshape(self._d, self._m), share_memory(memory)


def suits_columns(n_features: int) -> bool:
    """Whether `ColumnAssignment` is faster for many rows of this number of features."""
    return n_features <= _MOST_FEATURES


def compile_assignment(n_clusters: int, n_features: int, scale: ArrayLike, distance: str) -> None:
    """Compile the kernels of `ColumnAssignment` for such a model in advance."""
    k, d = n_clusters, n_features
    zeros = np.zeros((k, d), np.float32)
    model = ColumnAssignment(zeros, zeros[0], np.asarray(scale, np.float32), distance)
    model.assign(np.zeros((1, d), np.float32))


def _kernel_for(k: int, d: int, scale: Float32, distance: str) -> tuple[Callable[..., Any], int]:
    """Return the kernel, and its number of rows."""
    # The scores of a tile should be 128 KiB or so.
    tile = power_of_two_rows(max(k, d), 2**15, least=64, most=512)
    rows = min(rows_per_block(d, _BLOCK_NUMBERS), _BLOCK_ROWS)
    m = -(-rows // tile) * tile
    is_scaled = bool((scale != 1).any())
    return _kernel(m, tile, d, k, is_scaled=is_scaled, is_cosine=distance == "cosine"), m


def _grid(k: int) -> tuple[int, int]:
    """Rows and columns of the grid that has a place for each of k scores; a row for no grid."""
    rows = min(k // 8, 8) if _LEAST_GRID <= k <= _LARGEST_GRID else 1
    return rows, -(-k // rows)


@synchronized_cache
def _kernel(
    m: int, tile: int, d: int, k: int, *, is_scaled: bool, is_cosine: bool
) -> Callable[..., Any]:
    """The compiled kernel: the nearest centroid of each of m rows, by matrix products of tiles.

    The scores lie as [k, tile], so that a comparison runs along the rows in vector registers.

    Returns:
        A function from columns float32 [d m]; how many rows there are, int32 []; for each place of
        the grid the centroid, float32 [g, d], and half of its squared norm, float32 [g]; the
        longest norm float32 []; shift and scale float32 [d]. It gives the index int32 [m], and the
        distance float32 [m], which is `UNDECIDED` or `OUT_OF_RANGE` where the row is not decided.
        Beyond the rows they are undefined.
        O(m k d) time, a temporary of [g, tile].
    """
    grid = _grid(k)

    def kernel(
        columns: tf.Tensor,
        count: tf.Tensor,
        centroids: tf.Tensor,
        half_norm: tf.Tensor,
        longest: tf.Tensor,
        shift: tf.Tensor,
        scale: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        columns = tf.reshape(columns, [d, m])
        places = tf.transpose(centroids)

        def assign_tile(i: tf.Tensor) -> Any:
            rows = tf.slice(columns, [0, i * tile], [d, tile]) - shift[:, None]
            if is_scaled:
                rows /= scale[:, None]
            if is_cosine:
                rows = _unit_columns(rows)
            norm = tf.reduce_sum(tf.square(rows), 0)
            least_norm = 0.5 if is_cosine else -1.0
            in_range = (norm < _LARGEST) & (norm > least_norm)
            scores = half_norm[:, None] - tf.matmul(centroids, rows)
            index = _clear_least(scores, grid, norm, longest, d)
            apart = tf.cast(rows - tf.gather(places, tf.maximum(index, 0), axis=1), tf.float64)
            squared = tf.cast(tf.reduce_sum(tf.square(apart), 0), tf.float32)
            is_exact = (squared > _LEAST_SQUARE) | (squared == 0)
            decided = in_range & is_exact & (index >= 0)
            otherwise = tf.where(in_range, UNDECIDED, OUT_OF_RANGE)
            return [index, tf.where(decided, tf.sqrt(squared), otherwise)], []

        parts = [
            tf.TensorArray(dtype, m // tile, element_shape=[tile])
            for dtype in (tf.int32, tf.float32)
        ]
        parts, _ = loop_blocks(assign_tile, (count + tile - 1) // tile, parts, [])
        return tuple(tf.reshape(part.stack(), [m]) for part in parts)

    places = math.prod(grid)
    shapes = [[d * m], [places, d], [places], [], [d], [d]]
    first, *others = (tf.TensorSpec(shape, tf.float32) for shape in shapes)
    return trace(kernel, [first, INT, *others], is_compiled=True)


def _unit_columns(rows: tf.Tensor) -> tf.Tensor:
    """`model_space.unit_rows` for rows in the layout [d, tile]."""
    wide = tf.cast(rows, tf.float64)
    length = tf.sqrt(tf.reduce_sum(tf.square(wide), 0))
    return tf.cast(tf.math.divide_no_nan(wide, length), tf.float32)


def _clear_least(
    scores: tf.Tensor, grid: tuple[int, int], norm: tf.Tensor, longest: tf.Tensor, d: int
) -> tf.Tensor:
    """Index of the minimum score of each row, -1 where rounding could change it: int32 [tile].

    Args:
        scores: float32 [g, tile].
        grid: how many rows and columns the g places are.
        norm: float32 [tile], the squared norms of the rows.
        longest: float32 [], the norm of the longest centroid.
    """
    height, width = grid
    if height == 1:
        reach = _reach(tf.reduce_min(scores, 0), norm, longest, d)
        return single_within(scores, reach)
    cells = tf.reshape(scores, [height, width, -1])
    # Written out, as the compiler's own minimum of so few wakes the threads of other cores.
    rows, columns = (functools.reduce(tf.minimum, tf.unstack(cells, axis=axis)) for axis in (1, 0))
    row, least, second_row = _two_least(tf.unstack(rows))
    column, _, second_column = _two_least(tf.unstack(columns))
    second = tf.minimum(second_row, second_column)
    index = tf.where(second > _reach(least, norm, longest, d), row * width + column, -1)
    # The compiler would find the index anew for each feature of the row, which a sum prevents.
    return tf.reduce_sum(tf.stack([index, tf.zeros_like(index)]), 0)


def _two_least(scores: Sequence[tf.Tensor]) -> tuple[tf.Tensor, ...]:
    """Return the index of the minimum of scores, int32 [tile], the minimum, and the second minimum.

    Each score is float32 [tile]. On ties the second minimum equals the minimum.
    """
    least, *others = scores
    index, second = tf.zeros_like(least, tf.int32), tf.fill(least.shape, float("inf"))
    for number, score in enumerate(others, 1):
        index = tf.where(score < least, number, index)
        second = tf.minimum(second, tf.maximum(score, least))
        least = tf.minimum(score, least)
    return index, least, second


def _reach(least: tf.Tensor, norm: tf.Tensor, longest: tf.Tensor, d: int) -> tf.Tensor:
    """Beyond which another score keeps its order to the least in the served graph: float32 [tile].

    NaN or infinity where nothing is known.
    """
    gamma = (d + 8) * _UNIT / (1 - (d + 8) * _UNIT)
    wide = 2 * gamma
    high = wide / (1 - 4 * wide)
    length = tf.sqrt(norm)
    tiny = 4 * (d + 2) * _SMALLEST * (1 + length + longest)
    by_longest = least + wide * (2 * length * longest + longest * longest)
    by_score = ((1 + 4 * high) * least + 9 * high * norm) / (1 - 4 * high)
    return tf.minimum(by_longest, by_score) + tiny
