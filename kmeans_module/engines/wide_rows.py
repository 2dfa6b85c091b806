"""The search of wide rows: without a copy of the rows.

The kernel of `matmul` copies its rows into tiles, for they begin where they like, and are shifted.
Of wide rows and few clusters that takes as long as the product. Here nothing is copied:

- **NumPy multiplies few centroids**, in pieces of rows (`small_products`), and chooses the nearest.
  Nothing is compiled then.
- **TensorFlow's stock product multiplies more centroids**, and needs aligned memory, which begins h
  numbers after the first row. Seen as a table from there on, row r is x
  without its first h numbers, followed by the first h of the next row. So
  ``x.c = table[r].(c[h:], 0) + x[:h].c[:h]``, and h is below 16. The last row of all is not whole
  in the table: it is left undecided.
- **The shift s and the scale are in the centroids.** With ``z = (x - s) / scale`` and
  ``w = c / scale`` the score ``|c|^2 / 2 - z.c`` is ``(|c|^2 / 2 + s.w) - x.w``, whose bracket is
  taken in float64.

The rounding. Let u be 2^-24 and ``t = s / scale``. The product is one of d numbers, for which
``sum |x_j w_j| <= (|z| + |t|) |c|``. That w is rounded adds u to each term, and that the model's
space has z rounded, by its subtraction and its division, 2 u: so the error of ``x.w`` is at most
``gamma(d + 3) (|z| + |t|) |c|``. The bracket is rounded once, and the sum of both: that adds
``2 u (|c|^2 / 2 + |t| |c|)`` and ``u (|z| + |t|) |c|``. All together is below
``gamma(d + 8) ((|z| + |t|) |c| + |c|^2)``, which is the bound of `score_rounding` for rows of the
length ``|z| + |t|``, and near that of the shifted rows where t is no longer than they are. What is
too small for float32's normal numbers, of x or of w, may be taken for 0: that moves twice the score
by at most ``2^-125 sqrt(d) (|x| + |w|)``, where ``|x| <= scale (|z| + |t|)``.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..aligned_window import Window
from ..array_types import Float32
from ..blocks import (
    Contribution,
    block_ranges,
    loop_blocks,
    loop_padded_blocks,
    pad_rows,
    power_of_two_rows,
    rows_per_block,
)
from ..graphs import FLOATS, INT, TABLE, synchronized_cache, trace
from ..quiet_tensorflow import tf
from ..rows import ALIGNED_NUMBERS, Rows, as_numpy, squared_lengths
from ..weighted_rows import WeightedRows
from .nearest_score import DTYPES, ScoreChoice, nearest_by_scores
from .score_rounding import (
    SAMPLE_SPEC,
    has_far_centroid,
    sample_norms,
    score_bounds,
    score_errors,
)
from .small_products import multiply_pieces, piece_rows

#: Rows of fewer numbers are soon copied; and the scores, which leave a core's own cache, should be
#: few beside the numbers of a row.
_WIDE: Final = 256
_NUMBERS_FOR_EACH_CLUSTER: Final = 4

#: Scales lie between this and its inverse.
_LARGEST_SCALE: Final = 2.0**20

#: So many columns more make the bound of `score_rounding` the one that is needed.
_MORE_COLUMNS: Final = 6

#: No rounding of a bound goes beyond it.
_WIDER: Final = 1 + 2.0**-16

#: Numbers of the scores of a block, and of a tile of them.
_BLOCK_NUMBERS: Final = 2**20
_TILE_NUMBERS: Final = 2**17

#: Numbers of rows that are gathered, and then multiplied while they are in a core's own cache.
_GATHERED_NUMBERS: Final = 2**17


class WideRows:
    """The search of a range of wide rows; where they are not aligned it holds 64 bytes a row.

    Args:
        points: all rows.
        start, stop: the range, ``start`` a multiple of 16.
        norms: float32 [stop - start], of the range.
    """

    def __init__(self, points: Rows, start: int, stop: int, norms: Float32) -> None:
        self._points, self._range = points, (tf.constant(start), tf.constant(stop - start))
        self._skip = int(tf.size(points.tensors.head))
        self._rows = points.array[start:stop]
        self._far = _shift_length(points)
        self._lengths = self._reach(norms)
        self._sample = sample_norms(as_numpy(self._lengths))
        unaligned = points.array[start : stop if self._skip else start, :ALIGNED_NUMBERS]
        self._heads = tf.constant(np.ascontiguousarray(unaligned))

    @staticmethod
    def multiplies_by_numpy(d: int, k: int) -> bool:
        """Whether NumPy multiplies rows of d numbers and k centroids, and TensorFlow does not."""
        return piece_rows(d, k) > 0

    @staticmethod
    def is_aligned(points: Rows) -> bool:
        """Whether the first row begins at an aligned address: the graph is another one then."""
        return not int(tf.size(points.tensors.head))

    def search(
        self, norms: tf.Tensor, centroids: Float32, *, with_bounds: bool, has_far: bool
    ) -> list[tf.Tensor]:
        """Return the results of `search_by_matmul` for each row of the range with these norms."""
        if self.multiplies_by_numpy(*reversed(centroids.shape)):
            needed = as_numpy(norms) if with_bounds else None
            return list(map(tf.constant, self._search_pieces(centroids, needed)))
        table = self._points.tensors.body, self._heads, norms, self._lengths, *self._range
        options = {"with_bounds": with_bounds, "has_far": has_far}
        return self._search(table, centroids, self._skip, **options)

    def search_window(
        self, window: Window, norms: Float32, centroids: Float32, *, has_far: bool
    ) -> list[tf.Tensor]:
        """The same, with bounds, of the m rows of a window that skips nothing, of norms [m]."""
        norm, zero = tf.constant(norms), tf.constant(0)
        table = window.numbers, self._heads[:0], norm, self._reach(norms), zero, window.count
        return self._search(table, centroids, 0, with_bounds=True, has_far=has_far)

    def search_by_numpy(self, centroids: Float32) -> NDArray[np.int32]:
        """The index of each row of the range, -1 where it is undecided: int32 [n].

        Without a kernel: NumPy chooses, and nothing is compiled.
        """
        if self.multiplies_by_numpy(*reversed(centroids.shape)):
            (index,) = self._search_pieces(centroids)
        else:
            products, lengths = self._multiply_by_tensorflow(centroids), as_numpy(self._lengths)
            (index,) = _choose(products, self._points, lengths, centroids)
        return index

    def search_chosen(
        self, chosen: NDArray[np.int64], norms: Float32, centroids: Float32
    ) -> list[NDArray[Any]]:
        """The index and the bounds of chosen rows of all, int64 [m], with norms [m]: [m] each.

        NumPy searches them.
        """
        size = min(rows_per_block(centroids.shape[1], _GATHERED_NUMBERS), len(chosen))
        room = np.empty((size, centroids.shape[1]), np.float32)

        def gather(first: int, last: int) -> Float32:
            rows: Float32 = room[: last - first]
            # A mode other than "raise" writes to it directly.
            return np.take(self._points.array, chosen[first:last], 0, out=rows, mode="clip")

        products = _multiply_by_numpy(gather, len(chosen), size, centroids, self._points)
        return _choose(products, self._points, as_numpy(self._reach(norms)), centroids, norms)

    def _search_pieces(
        self, centroids: Float32, norms: Float32 | None = None
    ) -> list[NDArray[Any]]:
        """The index of each row of the range, and with their norms [n] its bounds: [n] each."""
        n = len(self._rows)
        products = _multiply_by_numpy(
            lambda first, last: self._rows[first:last], n, n, centroids, self._points
        )
        return _choose(products, self._points, as_numpy(self._lengths), centroids, norms)

    def _multiply_by_tensorflow(self, centroids: Float32) -> Iterator[tuple[int, Float32]]:
        """What `_multiply_by_numpy` yields, by TensorFlow, of all rows whole in the table."""
        (k, d), (start, n) = centroids.shape, map(int, self._range)
        weights, head_weights, _ = _fold(centroids, self._points, self._skip)
        numbers, heads = self._points.tensors.body, self._heads
        whole = min(n, int(tf.size(numbers)) // d - start)
        # Where a block begins at an aligned address it is no copy.
        size = power_of_two_rows(max(k, 16), _BLOCK_NUMBERS, least=1024, most=65_536)
        for first, last in block_ranges(0, whole, size):
            rows = tf.reshape(numbers[(start + first) * d : (start + last) * d], [-1, d])
            products = tf.matmul(rows, weights)
            if self._skip:
                products += tf.matmul(heads[first:last], head_weights)
            yield first, as_numpy(products).T

    def _search(
        self, table: tuple[tf.Tensor, ...], centroids: Float32, skip: int, **options: bool
    ) -> list[tf.Tensor]:
        graph = _search_graph(*centroids.shape, is_aligned=skip == 0, **options)
        weights = _fold(centroids, self._points, skip)
        found: list[tf.Tensor] = graph(*table, self._sample, tf.constant(centroids), *weights)
        return found

    def _reach(self, norms: Float32) -> tf.Tensor:
        """At least ``|z| + |t|`` of rows of these norms [m]: float32 [m]."""
        return tf.constant((norms + np.float32(self._far)) * np.float32(_WIDER))


def is_wide(rows: WeightedRows, k: int) -> bool:
    """Whether these rows are searched faster so, for k clusters."""
    points = rows.points
    if len(points.shift) < max(_WIDE, _NUMBERS_FOR_EACH_CLUSTER * k):
        return False
    is_moderate = ((points.scale > 1 / _LARGEST_SCALE) & (points.scale < _LARGEST_SCALE)).all()
    return bool(is_moderate and _shift_length(points) <= rows.usual_norm)


def _shift_length(points: Rows) -> float:
    """At least ``|t|``."""
    return _WIDER * float(np.linalg.norm(points.shift.astype(np.float64) / points.scale))


def _lost(d: int) -> float:
    """Return the error per unit of length from subnormal numbers; see above."""
    return 2.0**-125 * float(d**0.5) * _LARGEST_SCALE


def _multiply_by_numpy(
    read: Callable[[int, int], Float32], n: int, most: int, centroids: Float32, points: Rows
) -> Iterator[tuple[int, Float32]]:
    """Yield the first row of each block, and ``-x.w`` of its rows: float32 [k, m].

    The products of a block are written over those of the block before.

    Args:
        read: gives rows as stored, float32 [m, d], at most ``most`` of the n from the first to the
            last; they may be written over those it gave before.
        n: how many rows there are.
        most: how many `read` gives at most.
        centroids: float32 [k, d].
        points: shift and scale of the rows.
    """
    k = len(centroids)
    weights = as_numpy(_fold(centroids, points, 0)[0])
    products = np.empty((min(rows_per_block(k, _TILE_NUMBERS), n), k), np.float32)
    for first, last in block_ranges(0, n, len(products)):
        block = products[: last - first]
        for begin, end in block_ranges(first, last, most):
            multiply_pieces(read(begin, end), weights, block[begin - first : end - first])
        yield first, block.T


# A row of weight 0 may exceed float32.
@np.errstate(over="ignore", invalid="ignore")
def _choose(
    products: Iterator[tuple[int, Float32]],
    points: Rows,
    lengths: Float32,
    centroids: Float32,
    norms: Float32 | None = None,
) -> list[NDArray[Any]]:
    """The index of each of n rows, -1 where it is undecided: int32 [n]. NumPy chooses.

    With the norms of the rows, float32 [n], also the bounds, float32 [n] each. ``products`` are
    those of `_multiply_by_numpy`, and the lengths float32 [n] at least ``|z| + |t|``.
    """
    k, n = len(centroids), len(lengths)
    errors, halves, spreads = _errors(points, lengths, centroids)
    columns: list[NDArray[Any]] = [np.full(n, -1, np.int32)]
    if norms is not None:
        columns += [np.full(n, np.inf, np.float32), np.zeros(n, np.float32)]
    choice = ScoreChoice(k, min(rows_per_block(k, _TILE_NUMBERS), n))
    for first, block in products:
        for begin, end in block_ranges(0, block.shape[1], choice.scores.shape[1]):
            part = slice(first + begin, first + end)
            scores = np.add(block[:, begin:end], halves, out=choice.scores[:, : end - begin])
            if norms is None:
                columns[0][part] = choice.choose(scores, spreads, errors[part])
                continue
            found = choice.choose_with_bounds(scores, spreads, errors[part], norms[part])
            for column, values in zip(columns, found, strict=True):
                column[part] = values
    return columns


def _errors(
    points: Rows, lengths: Float32, centroids: Float32
) -> tuple[Float32, Float32, Float32 | None]:
    """The errors of the rows [n], the summands of products [k, 1], the errors of centroids [k].

    The last are None where those of the rows do for all.
    """
    brackets = as_numpy(_fold(centroids, points, 0)[-1])
    longest = np.sqrt(squared_lengths(centroids).max())
    bounds = score_bounds(lengths, centroids, more=_MORE_COLUMNS)
    errors = bounds.rows(lengths)
    errors += np.float32(_lost(centroids.shape[1])) * (lengths + longest)
    if has_far_centroid(centroids, is_wide=True):
        halves = brackets + np.float32(0.5) * bounds.centroids
        return errors, halves[:, None], bounds.centroids
    return errors + bounds.centroids.max(), brackets[:, None], None


def _fold(centroids: Float32, points: Rows, skip: int) -> tuple[tf.Tensor, ...]:
    """Return the centroids [k, d] as inputs of the graph, for a table that skips ``skip`` numbers.

    Returns:
        -w for the table's columns, float32 [d, k], and for the numbers before, float32 [16, k]; the
        brackets, float32 [k].
    """
    wide = centroids.astype(np.float64)
    weights = wide / points.scale
    # A sum, no dot product: a BLAS library may share that out among its threads.
    brackets = (np.square(wide) / 2 + weights * points.shift).sum(axis=1)
    k, d = wide.shape
    whole, head = np.zeros((d, k), np.float32), np.zeros((ALIGNED_NUMBERS, k), np.float32)
    whole[: d - skip], head[:skip] = -weights.T[skip:], -weights.T[:skip]
    return tf.constant(whole), tf.constant(head), tf.constant(brackets.astype(np.float32))


@synchronized_cache
def _search_graph(k: int, d: int, *, is_aligned: bool, with_bounds: bool, has_far: bool) -> Any:
    """The graph of a search.

    Returns:
        A function from the numbers of the table; the first 16 numbers of each of n rows, float32
        [n, 16], where it is not aligned; the norms float32 [n], and at least ``|z| + |t|``
        float32 [n]; the first row and n, int32 []; `sample_norms`; the centroids float32 [k, d];
        and what `_fold` gives. It gives what `search_by_matmul` does.
    """
    m = power_of_two_rows(max(k, 16), _BLOCK_NUMBERS, least=1024, most=8192)
    kernel = _nearest_kernel(m, k, d, with_bounds=with_bounds, has_far=has_far)

    def search(
        numbers: tf.Tensor,
        heads: tf.Tensor,
        norms: tf.Tensor,
        lengths: tf.Tensor,
        start: tf.Tensor,
        n: tf.Tensor,
        sample: tf.Tensor,
        centroids: tf.Tensor,
        weights: tf.Tensor,
        head_weights: tf.Tensor,
        brackets: tf.Tensor,
    ) -> list[tf.Tensor]:
        whole = tf.size(numbers, tf.int64) // d
        centroids, brackets = tf.ensure_shape(centroids, [k, d]), tf.ensure_shape(brackets, [k])

        def block(i: tf.Tensor) -> Contribution:
            first, last = i * m, tf.minimum((i + 1) * m, n)
            begin = tf.cast(start + first, tf.int64)
            end = tf.minimum(tf.cast(start + last, tf.int64), whole)
            rows = tf.reshape(numbers[begin * d : end * d], [-1, d])
            products = tf.matmul(rows, weights)
            if not is_aligned:
                products += tf.matmul(heads[first : first + tf.shape(rows)[0]], head_weights)
            each = (pad_rows(column[first:last], m) for column in (norms, lengths))
            padded = _pad_undecided(products, m)
            return kernel(padded, last - first, brackets, *each, sample, centroids), ()

        return loop_padded_blocks(block, n, m, DTYPES if with_bounds else DTYPES[:1], [])[0]

    signature = [FLOATS, TABLE, FLOATS, FLOATS, INT, INT, SAMPLE_SPEC, TABLE, TABLE, TABLE, FLOATS]
    return trace(search, signature)


def _pad_undecided(products: tf.Tensor, m: int) -> tf.Tensor:
    """The products [<= m, k] with NaN after them, of which no score is the least: [m, k]."""
    missing = m - tf.shape(products)[0]
    nan = float("nan")
    whole = tf.cond(
        missing > 0,
        lambda: tf.pad(products, [[0, missing], [0, 0]], constant_values=nan),
        lambda: products,
    )
    return tf.ensure_shape(whole, [m, products.shape[1]])


def _nearest_kernel(m: int, k: int, d: int, *, with_bounds: bool, has_far: bool) -> Any:
    """The compiled kernel that searches the products of m rows, or of the first of them."""
    tile = power_of_two_rows(k, _TILE_NUMBERS, least=64, most=1024)
    nearest = nearest_by_scores(k, with_bounds=with_bounds, has_far=has_far)

    def kernel(
        products: tf.Tensor,
        count: tf.Tensor,
        brackets: tf.Tensor,
        norms: tf.Tensor,
        lengths: tf.Tensor,
        sample: tf.Tensor,
        centroids: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        errors, spreads = score_errors(lengths, centroids, d + _MORE_COLUMNS, sample)
        longest = tf.sqrt(tf.reduce_max(tf.reduce_sum(tf.square(centroids), 1)))
        errors += _lost(d) * (lengths + longest)
        spreads = spreads[:, None]
        halves = brackets[:, None]
        if has_far:
            halves += 0.5 * spreads
        else:
            errors += tf.reduce_max(spreads)

        def search_tile(i: tf.Tensor) -> Contribution:
            scores = tf.transpose(tf.slice(products, [i * tile, 0], [tile, k])) + halves
            error, norm = (tf.slice(each, [i * tile], [tile]) for each in (errors, norms))
            return nearest(scores, error, norm, spreads), []

        dtypes = DTYPES if with_bounds else DTYPES[:1]
        parts = [tf.TensorArray(dtype, m // tile, element_shape=[tile]) for dtype in dtypes]
        # A window of gathered rows has far fewer than m.
        parts, _ = loop_blocks(search_tile, (count + tile - 1) // tile, parts, [])
        return tuple(tf.reshape(part.stack(), [m]) for part in parts)

    column = tf.TensorSpec([m], tf.float32)
    signature = [
        tf.TensorSpec([m, k], tf.float32),
        INT,
        tf.TensorSpec([k], tf.float32),
        column,
        column,
        SAMPLE_SPEC,
        tf.TensorSpec([k, d], tf.float32),
    ]
    return trace(kernel, signature, is_compiled=True)
