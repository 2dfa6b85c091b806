"""A uniform sample of rows that does not depend on the blocks of a pass.

Each row number has a random key, and the rows with the smallest keys are the sample. So a source
and an array of the same rows have the same sample, for any distribution of rows over workers.
"""

from typing import Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from .array_types import Float32, Table
from .blocks import block_ranges
from .row_share import RowShare
from .workers import Reducer

Seeding = Literal["sample", "all"]
SEEDINGS: Final[tuple[Seeding, ...]] = get_args(Seeding)

#: Rows of a sample per cluster, and the most numbers of a sample: 256 MiB of float32. With many
#: clusters or wide rows there are fewer rows, but at least the last number.
_ROWS_PER_CLUSTER: Final = 4000
_MOST_NUMBERS: Final = 2**26
_LEAST_PER_CLUSTER: Final = 50

#: Keys per draw; Philox generates four at a time.
_BLOCK_KEYS: Final = 2**18

#: The number for the seed of a sample; no start has this number.
_KEY_OF_SAMPLE: Final = 2**32 - 1

#: A drawn row.
_DRAWN: Final = np.dtype([("key", np.uint64), ("number", np.int64), ("weight", np.float32)])


class Sample(NamedTuple):
    """Drawn rows.

    Attributes:
        numbers: int64 [m], ascending.
        weights: float32 [m], above 0.
    """

    numbers: NDArray[np.int64]
    weights: Float32


def default_sample_rows(d: int, k: int) -> int:
    """Return the default number of sampled rows of d features for k clusters."""
    return min(_ROWS_PER_CLUSTER * k, max(_MOST_NUMBERS // d, _LEAST_PER_CLUSTER * k))


def draw_sample(weights: Table, count: int, seed: int, share: RowShare | None = None) -> Sample:
    """Draw rows of positive weight with equal probability; all if there are at most ``count``.

    Args:
        weights: float32 [n].
        count: the number of rows.
        seed: the seed of the keys.
        share: the rows that this worker reads, by default all.

    Returns:
        The sampled rows in the share. O(n) time, O(count) memory.
    """
    share = share or RowShare.whole(len(weights))
    drawn, most = np.empty(0, _DRAWN), np.uint64(2**64 - 1)
    for first, last in block_ranges(share.start, share.stop, _BLOCK_KEYS):
        weight = weights[first:last]
        keys = row_keys(first, last, seed)
        (places,) = np.nonzero((weight > 0) & (keys <= most))
        block = np.empty(len(places), _DRAWN)
        block["key"], block["number"] = keys[places], first + places
        block["weight"] = weight[places]
        drawn = np.concatenate([drawn, block])
        if len(drawn) >= 2 * count:
            drawn = _least(drawn, count)
            most = drawn["key"].max()
    drawn = _least_of_all(_least(drawn, count), count, share.reducer)
    drawn = drawn[np.argsort(drawn["number"])]
    return Sample(drawn["number"].copy(), drawn["weight"].copy())


def _least(drawn: NDArray[np.void], count: int) -> NDArray[np.void]:
    """Return the rows with the smallest keys."""
    if len(drawn) <= count:
        return drawn
    chosen: NDArray[np.void] = drawn[np.argpartition(drawn["key"], count - 1)[:count]]
    return chosen


def _least_of_all(drawn: NDArray[np.void], count: int, reducer: Reducer) -> NDArray[np.void]:
    """Return the rows of this worker whose keys are among the smallest of all workers."""
    if reducer.workers == 1 or reducer.sum([len(drawn)])[0] <= count:
        return drawn
    keys, most = np.sort(drawn["key"]), np.uint64(0)
    # The largest of these keys is found byte by byte; workers exchange only counts.
    for shift in range(56, -8, -8):
        ends = most + (np.arange(1, 257, dtype=np.uint64) << np.uint64(shift)) - np.uint64(1)
        up_to = reducer.sum(np.searchsorted(keys, ends, side="right"))
        most += np.uint64(np.argmax(up_to >= count)) << np.uint64(shift)
    chosen: NDArray[np.void] = drawn[drawn["key"] <= most]
    return chosen


def row_keys(start: int, stop: int, seed: int) -> NDArray[np.uint64]:
    """Return the keys of the rows ``start`` to ``stop`` (exclusive): uint64 [stop - start].

    Philox is based on a counter (Salmon et al. 2011): any part of its sequence can be computed
    without the previous part.
    """
    bits = np.random.Philox(np.random.SeedSequence(seed, spawn_key=(_KEY_OF_SAMPLE,)))
    # The counter advances by fours.
    keys: NDArray[np.uint64] = bits.advance(start // 4).random_raw(stop - start // 4 * 4)
    return keys[start % 4 :]
