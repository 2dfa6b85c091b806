"""The step over rows on a device, as one compiled kernel.

All of a step over a block of rows is one program of XLA: the scores tile by tile, which rows have
one nearest centroid beyond rounding, float64 for those that have not, whole-number sums, and
whether a cluster has changed. Nothing of it depends on the kind of the device but the time:

- A score is bounded by `score_rounding` for any order of its sum, with fused multiplications or
  without: these round less often. TensorFloat-32, which has 11 bits of each number, is no such
  order: the product asks for the highest precision by itself, whatever the process has set.
- Rows that are within the bound of another centroid are looked at again in float64, by the bound
  that `near_ties` has, which holds in any order too. Nearly all have one nearest centroid then. The
  others, equally near ones up to float64's last bits, are left for `near_ties.decide`.
- A sum has the same bits in any order, for it is one of integers; and what a row adds to it is the
  same with fused multiplications: a product of two float32 numbers is exact in float64, and so is
  one with a power of two.
- There is no division and no root whose bits count: on a GPU the compiler takes a quicker division,
  which is off by two units. So the rows come in the model's space.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from tensorflow.compiler.tf2xla.python import xla

from ..blocks import Contribution, loop_blocks, power_of_two_rows
from ..cluster_sums import sums_by_cluster, sums_shapes
from ..graphs import INT, synchronized_cache, trace
from ..quiet_tensorflow import tf
from .score_rounding import SAMPLE_SPEC, score_errors

#: Numbers of a tile, its scores or its points: they should stay in the device's cache.
TILE_NUMBERS: Final = {"CPU": 2**17, "GPU": 2**22}

#: Numbers in float64 of a block of rows that rounding left undecided.
_SETTLE_NUMBERS: Final = 2**19

_UNIT: Final = 2.0**-53


class DeviceRows(NamedTuple):
    """A block of rows on a device.

    Attributes:
        points: float32 [m, d], in the model's space; 0 beyond the rows.
        weight: float32 [m]; 0 beyond the rows.
        norms: float32 [m].
        count: int32 [], how many rows there are, at most m.
    """

    points: tf.Tensor
    weight: tf.Tensor
    norms: tf.Tensor
    count: tf.Tensor


class BlockShape(NamedTuple):
    """The shape that a kernel is compiled for.

    Attributes:
        m: rows of a block, a power of two.
        d: numbers of a row.
        k: clusters.
        limbs: of the sums; 0 for none.
        tile: rows of a tile, a power of two.
    """

    m: int
    d: int
    k: int
    limbs: int
    tile: int


def rows_spec(m: int, d: int) -> DeviceRows:
    """The specification of a block of m rows of d numbers."""
    numbers = tf.TensorSpec([m], tf.float32)
    return DeviceRows(tf.TensorSpec([m, d], tf.float32), numbers, numbers, INT)


def tile_rows(m: int, d: int, k: int, kind: str) -> int:
    """The number of rows of a tile in a block of m, on a device kind, "CPU" or "GPU"."""
    return power_of_two_rows(max(k, d), TILE_NUMBERS[kind], least=min(m, 64), most=m)


@synchronized_cache
def device_step(shape: BlockShape) -> Callable[..., Any]:
    """The compiled step of a block, `step_function`."""
    return trace(step_function(shape), step_signature(shape), is_compiled=True)


def step_signature(shape: BlockShape) -> list[Any]:
    """The arguments of `step_function`."""
    return [
        rows_spec(shape.m, shape.d),
        tf.TensorSpec([shape.m], tf.int32),
        SAMPLE_SPEC,
        tf.TensorSpec([shape.d + 2], tf.float64),
        tf.TensorSpec([shape.k, shape.d], tf.float32),
        *(tf.TensorSpec(each, tf.int64) for each in sums_shapes(shape.d, shape.k, shape.limbs)),
    ]


def step_function(shape: BlockShape) -> Callable[..., tuple[tf.Tensor, ...]]:
    """The step of a block.

    Returns:
        A function from the rows; their clusters before int32 [m]; `sample_norms` of all rows; the
        scale, `SumScale.tensor`; centroids float32 [k, d], in the model's space; and the sums so
        far, int64 [limbs, k, d] and [limbs, k, 1]. It gives the clusters int32 [m], -1 where
        float64 leaves a row undecided; the sums with the decided rows; whether one of these has
        changed cluster; and the numbers int32 [m] of the undecided rows, and how many they are.
        O(m k d) time, temporaries of [tile, k] and [tile, d] in float64.
    """

    def step(
        rows: DeviceRows,
        before: tf.Tensor,
        sample: tf.Tensor,
        scale: tf.Tensor,
        centroids: tf.Tensor,
        *sums: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        numbers = row_numbers(rows)
        is_row = numbers < rows.count
        index = _search(shape, rows, sample, centroids)
        undecided = find_places((index < 0) & is_row, numbers)
        index = _settle(shape, rows.points, centroids, index, numbers, *undecided)
        if shape.limbs:
            sums = tuple(_add_sums(shape, rows, scale, index, sums))
        has_changed = tf.reduce_any(is_row & (index >= 0) & (index != before))
        return index, *sums, has_changed, *find_places((index < 0) & is_row, numbers)

    return step


def step_program(shape: BlockShape, stage: str) -> str:
    """The step of a block as a program, as the compiler is given it: "hlo" or "stablehlo".

    Its arguments are those of `step_function` in their order, the rows one by one.
    """
    step = step_function(shape)

    def flat_step(*tensors: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return step(DeviceRows(*tensors[:4]), *tensors[4:])

    specs = tf.nest.flatten(step_signature(shape))
    compiled = tf.function(flat_step, specs, autograph=False, jit_compile=True)
    program: str = compiled.experimental_get_compiler_ir(*specs)(stage=stage)
    return program


@synchronized_cache
def places_taker(m: int, width: int) -> Callable[..., Any]:
    """The kernel that takes the first ``width`` of numbers int32 [m]."""
    return trace(lambda places: places[:width], [tf.TensorSpec([m], tf.int32)], is_compiled=True)


@synchronized_cache
def value_taker(m: int, width: int) -> Callable[..., Any]:
    """The kernel that selects the values of rows int32 [width] from values int32 [m]."""
    specs = [tf.TensorSpec([size], tf.int32) for size in (m, width)]
    return trace(tf.gather, specs, is_compiled=True)


@synchronized_cache
def value_putter(m: int, width: int, dtype: tf.DType) -> Callable[..., Any]:
    """The kernel that writes the values of some rows into the values of all.

    Returns:
        A function from values [m], numbers of rows int32 [width], m where there is none, and their
        values [width], to the values of all.
    """

    def put(values: tf.Tensor, numbers: tf.Tensor, few: tf.Tensor) -> tf.Tensor:
        return tf.tensor_scatter_nd_update(values, numbers[:, None], few)

    specs = [tf.TensorSpec([m], dtype), tf.TensorSpec([width], tf.int32)]
    return trace(put, [*specs, tf.TensorSpec([width], dtype)], is_compiled=True)


def _search(
    shape: BlockShape, rows: DeviceRows, sample: tf.Tensor, centroids: tf.Tensor
) -> tf.Tensor:
    """The nearest centroid of each row, -1 where rounding could show: int32 [m]."""
    m, d, tile = shape.m, shape.d, shape.tile
    half_norm = 0.5 * tf.reduce_sum(tf.square(centroids), 1)
    errors, spreads = score_errors(rows.norms, centroids, d, sample)

    def search_tile(i: tf.Tensor) -> Contribution:
        points = tf.slice(rows.points, [i * tile, 0], [tile, d])
        scores = half_norm - float32_product(points, centroids)
        most = tf.reduce_min(scores + 0.5 * spreads, 1) + tf.slice(errors, [i * tile], [tile])
        return [_single(scores - 0.5 * spreads <= most[:, None])], []

    parts = [tf.TensorArray(tf.int32, m // tile, element_shape=[tile])]
    (part,), _ = loop_blocks(search_tile, _tiles(rows, tile), parts, [])
    return tf.reshape(part.stack(), [m])


def _settle(
    shape: BlockShape,
    points: tf.Tensor,
    centroids: tf.Tensor,
    index: tf.Tensor,
    numbers: tf.Tensor,
    rows_left: tf.Tensor,
    count: tf.Tensor,
) -> tf.Tensor:
    """The clusters with those that float64 decides: int32 [m].

    The rows to decide are the first ``count`` of ``rows_left``.

    As `near_ties` says it: a centroid that is the only one within the bound is the nearest in any
    order of the sums.
    """
    m, d, k = shape[:3]
    block = power_of_two_rows(max(k, d), _SETTLE_NUMBERS, least=min(m, 16), most=m)
    wide = tf.cast(centroids, tf.float64)
    square = tf.reduce_sum(tf.square(wide), 1)

    def settle_block(i: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        chosen = tf.slice(rows_left, [i * block], [block])
        rows = tf.cast(tf.gather(points, chosen), tf.float64)
        # A row of weight 0 that float32 cannot hold goes where the origin would.
        rows = tf.where(tf.math.is_finite(rows), rows, 0.0)
        scores = square / 2 - tf.matmul(rows, wide, transpose_b=True)
        reach = 2 * (tf.reduce_sum(tf.square(rows), 1) + tf.reduce_max(square))
        most = tf.reduce_min(scores, 1) + 4 * (d + 8) * _UNIT * reach
        found = _single(scores <= most[:, None])
        # What is written beyond the end is not written.
        is_chosen = i * block + numbers[:block] < count
        places = tf.where(is_chosen, chosen, m)
        return i + 1, tf.tensor_scatter_nd_update(index, places[:, None], found)

    _, index = tf.while_loop(
        lambda i, _: i * block < count,
        settle_block,
        (tf.constant(0), index),
        parallel_iterations=1,
    )
    return index


def _add_sums(
    shape: BlockShape,
    rows: DeviceRows,
    scale: tf.Tensor,
    index: tf.Tensor,
    sums: tuple[tf.Tensor, ...],
) -> list[tf.Tensor]:
    """The sums of the clusters, with the decided rows added."""
    d, k, limbs, tile = shape[1:]

    def sum_tile(i: tf.Tensor) -> Contribution:
        points = tf.slice(rows.points, [i * tile, 0], [tile, d])
        weight, part = (tf.slice(each, [i * tile], [tile]) for each in (rows.weight, index))
        return [], sums_by_cluster(points, weight, scale, limbs, [part], k)

    return loop_blocks(sum_tile, _tiles(rows, tile), [], sums)[1]


def _tiles(rows: DeviceRows, tile: int) -> tf.Tensor:
    """The number of tiles with rows: int32 []."""
    return (rows.count + tile - 1) // tile


def float32_product(rows: tf.Tensor, centroids: tf.Tensor) -> tf.Tensor:
    """The dot products float32 [m, k], of float32's own precision on any device."""
    numbers = xla.DotDimensionNumbers(
        lhs_contracting_dimensions=[1], rhs_contracting_dimensions=[1]
    )
    highest = xla.PrecisionConfig(operand_precision=[xla.PrecisionConfig.HIGHEST] * 2)
    product = xla.dot_general(rows, centroids, numbers, highest)
    return tf.ensure_shape(product, [rows.shape[0], centroids.shape[0]])


def _single(may_be: tf.Tensor) -> tf.Tensor:
    """The only centroid of each row that may be its nearest, or -1: int32 [m] of bool [m, k]."""
    count = tf.reduce_sum(tf.cast(may_be, tf.int32), 1)
    number = tf.reduce_sum(tf.where(may_be, tf.range(may_be.shape[1]), 0), 1)
    # None may be, where a row's square overflows: it is of weight 0.
    return tf.where(count == 1, number, -1)


def row_numbers(rows: DeviceRows) -> tf.Tensor:
    """The numbers 0 to m - 1, int32 [m], which the program counts: it would hold a constant."""
    one = tf.minimum(rows.count, 1)
    return tf.cumsum(tf.fill([rows.weight.shape[0]], one)) - 1


def find_places(is_wanted: tf.Tensor, numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The places at which bool [m] is true, int32 [m] with zeros after them; and how many.

    ``numbers`` are `row_numbers`.
    """
    m = is_wanted.shape[0]
    until = tf.cumsum(tf.cast(is_wanted, tf.int32))
    # What is written beyond the end is not written.
    to = tf.where(is_wanted, until - 1, m)
    return tf.scatter_nd(to[:, None], numbers, [m]), until[-1]
