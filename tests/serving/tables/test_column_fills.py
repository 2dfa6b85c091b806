"""What takes a missing number's place is the same bits from a source as from memory."""

from typing import Any, Literal

import numpy as np
import pytest

from kmeans_module import Reducer
from kmeans_module.column_fitting import find_fill
from kmeans_module.row_source import RowSource
from serving.tables.column_fills import find_fills
from tests.kmeans_module.worker_threads import run_workers


def columns() -> list[Any]:
    rng = np.random.default_rng(0)
    n = 150_001
    found = [
        rng.normal(size=n),
        rng.integers(-3, 4, n),
        rng.normal(size=n) * 1e-40,
        -np.exp(rng.normal(size=n) * 40).clip(1e-30, 1e30),
        np.where(np.arange(n) == 7, -2.5, np.nan),
        np.where(np.arange(n) < 2, np.arange(n) - 0.5, np.nan),
        np.where(rng.random(n) < 0.5, -0.0, 0.0),
        1e9 + rng.integers(0, 1000, n),
    ]
    lacks = rng.random(n) < 0.3
    some = [np.where(lacks, np.nan, each) for each in found[:4]]
    return [each.astype(np.float32) for each in [*some, *found]]


@pytest.mark.parametrize("impute", ["mean", "median", 1.5, None])
def test_what_is_found_by_blocks_is_what_memory_finds(
    impute: Literal["mean", "median"] | float | None,
) -> None:
    given = columns()
    source = RowSource.from_array(np.column_stack([np.zeros(len(given[0]), np.float32), *given]))
    places = list(range(1, len(given) + 1))
    counts = [int(np.count_nonzero(~np.isnan(each))) for each in given]
    found = find_fills(source, places, counts, impute)
    assert found == [find_fill(each, impute) for each in given]


@pytest.mark.parametrize("impute", ["mean", "median"])
@pytest.mark.parametrize("workers", [2, 3])
def test_what_workers_find_of_parts_is_what_one_finds_of_all(
    impute: Literal["mean", "median"], workers: int
) -> None:
    rows = np.column_stack(columns())
    places, counts = list(range(rows.shape[1])), np.count_nonzero(~np.isnan(rows), axis=0).tolist()
    ends = [len(rows) * number // workers for number in range(workers)] + [len(rows)]
    # One of them has no rows.
    ends[1] = 0

    def find(reducer: Reducer) -> list[float | None]:
        start, stop = ends[reducer.worker], ends[reducer.worker + 1]
        part = RowSource.without_rows(rows.shape[1])
        if start < stop:
            part = RowSource.from_array(rows[start:stop])
        return find_fills(part, places, counts, impute, reducer)

    expected = find_fills(RowSource.from_array(rows), places, counts, impute)
    assert run_workers(workers, find) == [expected] * workers
