"""A uniform sample of the rows, which does not depend on the blocks that they are read in.

Each row number has a random key of its own, and the rows of the least keys are the sample: so a
source and an array of the same rows have the same sample, whoever reads which rows.
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

#: Rows of a sample for each cluster, and the most numbers that those may be: 256 MiB of float32.
#: Of many clusters or wide rows it is fewer, but not fewer than the last says.
_ROWS_PER_CLUSTER: Final = 4000
_MOST_NUMBERS: Final = 2**26
_LEAST_PER_CLUSTER: Final = 50

#: Keys that are drawn at once; Philox makes four at a time.
_BLOCK_KEYS: Final = 2**18

#: No start has that number, from which its seed comes.
_KEY_OF_SAMPLE: Final = 2**32 - 1

#: A row that was drawn.
_DRAWN: Final = np.dtype([("key", np.uint64), ("number", np.int64), ("weight", np.float32)])


class Sample(NamedTuple):
    """Rows that were drawn.

    Attributes:
        numbers: int64 [m], rising.
        weights: float32 [m], above 0.
    """

    numbers: NDArray[np.int64]
    weights: Float32


def default_sample_rows(d: int, k: int) -> int:
    """How many rows of d features are sampled for k clusters."""
    return min(_ROWS_PER_CLUSTER * k, max(_MOST_NUMBERS // d, _LEAST_PER_CLUSTER * k))


def draw_sample(weights: Table, count: int, seed: int, share: RowShare | None = None) -> Sample:
    """Rows of positive weight, each as likely as the other; all where there are no more.

    Args:
        weights: float32 [n].
        count: how many rows.
        seed: of the keys.
        share: the rows that this worker reads, by default all.

    Returns:
        Those of the sample that are of the share. O(n) time; memory of O(count).
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
    """Those of the least keys."""
    if len(drawn) <= count:
        return drawn
    chosen: NDArray[np.void] = drawn[np.argpartition(drawn["key"], count - 1)[:count]]
    return chosen


def _least_of_all(drawn: NDArray[np.void], count: int, reducer: Reducer) -> NDArray[np.void]:
    """Those that are among the least keys of all workers, given those of this one."""
    if reducer.workers == 1 or reducer.sum([len(drawn)])[0] <= count:
        return drawn
    keys, most = np.sort(drawn["key"]), np.uint64(0)
    # The largest of them is found byte by byte, and no worker hears more than how many there are.
    for shift in range(56, -8, -8):
        ends = most + (np.arange(1, 257, dtype=np.uint64) << np.uint64(shift)) - np.uint64(1)
        up_to = reducer.sum(np.searchsorted(keys, ends, side="right"))
        most += np.uint64(np.argmax(up_to >= count)) << np.uint64(shift)
    chosen: NDArray[np.void] = drawn[drawn["key"] <= most]
    return chosen


def row_keys(start: int, stop: int, seed: int) -> NDArray[np.uint64]:
    """The keys of the rows ``start`` to before ``stop``: uint64 [stop - start].

    Philox counts (Salmon et al. 2011): any part of its numbers can be had without those before.
    """
    bits = np.random.Philox(np.random.SeedSequence(seed, spawn_key=(_KEY_OF_SAMPLE,)))
    # It counts by fours.
    keys: NDArray[np.uint64] = bits.advance(start // 4).random_raw(stop - start // 4 * 4)
    return keys[start % 4 :]
