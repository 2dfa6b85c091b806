"""Find the replacements of missing numbers from a source, with the same bits as in memory.

A mean uses exact sums, and a median is found by the bits of the numbers, so neither depends on
blocks or on the distribution of rows over workers.
"""

import json
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kmeans_module.blocks import block_ranges, rows_per_block
from kmeans_module.column_fitting import Impute, exact_mean, find_fill, sum_exactly
from kmeans_module.row_source import RowSource
from kmeans_module.workers import ALONE, Reducer

#: The bits of a number that each pass examines, from the highest on.
_DIGITS: Final = ((21, 11), (10, 11), (0, 10))


def find_fills(
    source: RowSource,
    places: list[int],
    counts: list[int],
    impute: Impute,
    reducer: Reducer = ALONE,
) -> list[float | None]:
    """Find the replacement of missing numbers in the columns at these places.

    Args:
        source: the float32 rows of this worker, with NaN for missing numbers.
        places: the indices of the columns.
        counts: the number of values of each column in the rows of all workers, at least one.
        impute: the requested replacement.
        reducer: the reducer of the workers.

    Raises:
        InvalidParameter: the number is outside float32.
    """
    if not places or impute not in ("mean", "median"):
        return [find_fill(np.empty(0, np.float32), impute) for _ in places]
    if impute == "mean":
        sums = [0] * len(places)
        for block in _blocks(source, places):
            for index, column in enumerate(block.T):
                sums[index] += sum_exactly(column[~np.isnan(column)])
        totals = _add_up(sums, reducer)
        found = [exact_mean(total, n) for total, n in zip(totals, counts, strict=True)]
    else:
        low, high = (
            _find_ranked(source, places, ranks, reducer)
            for ranks in ([(n - 1) // 2 for n in counts], [n // 2 for n in counts])
        )
        found = ((low.astype(np.float64) + high.astype(np.float64)) / 2).tolist()
    return [float(np.float32(each)) for each in found]


def _add_up(sums: list[int], reducer: Reducer) -> list[int]:
    """Return the sums over the workers of integers, which may exceed int64."""
    text = json.dumps(sums).encode() + b"\n"
    lines = reducer.gather(np.frombuffer(text, np.uint8)).tobytes().splitlines()
    return [sum(each) for each in zip(*map(json.loads, lines), strict=True)]


def _find_ranked(
    source: RowSource, places: list[int], ranks: list[int], reducer: Reducer
) -> NDArray[np.float32]:
    """Return the number of each column with this rank; one pass for each digit."""
    rest = np.array(ranks, np.int64)
    known = np.zeros(len(places), np.uint64)
    for shift, bits in _DIGITS:
        counts = np.zeros((len(places), 2**bits), np.int64)
        for block in _blocks(source, places):
            for index, column in enumerate(block.T):
                keys = _keys(column[~np.isnan(column)])
                fitting = keys[keys >> np.uint64(shift + bits) == known[index]]
                digits = (fitting >> np.uint64(shift)) & np.uint64(2**bits - 1)
                counts[index] += np.bincount(digits.astype(np.int64), minlength=2**bits)
        upto = np.cumsum(reducer.sum(counts), axis=1)
        digit = np.array(
            [np.searchsorted(each, rank, "right") for each, rank in zip(upto, rest, strict=True)]
        )
        rest -= np.where(digit > 0, np.take_along_axis(upto, digit[:, None] - 1, 1)[:, 0], 0)
        known = (known << np.uint64(bits)) | digit.astype(np.uint64)
    return _numbers(known.astype(np.uint32))


def _keys(numbers: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Return integers with the same order as the numbers."""
    bits = np.ascontiguousarray(numbers).view(np.uint32)
    keys: NDArray[np.uint32] = np.where(bits >> np.uint32(31), ~bits, bits | np.uint32(2**31))
    return keys.astype(np.uint64)


def _numbers(keys: NDArray[np.uint32]) -> NDArray[np.float32]:
    bits = np.where(keys >> np.uint32(31), keys & np.uint32(2**31 - 1), ~keys)
    return bits.view(np.float32)


def _blocks(source: RowSource, places: list[int]) -> Any:
    rows = rows_per_block(source.shape[1])
    return (source[start:stop][:, places] for start, stop in block_ranges(0, len(source), rows))
