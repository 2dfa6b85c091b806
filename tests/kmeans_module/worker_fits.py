"""Fits that several workers make together, and one process alone."""

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from threading import Event
from typing import Any, Final

import numpy as np
import pytest

from kmeans_module import (
    Progress,
    Reducer,
    RowSource,
    WorkersDiffer,
    fit,
    source_rows,
    whole_source,
)
from kmeans_module.engines import choice  # noqa: F401  # imported before the fork
from tests.interrupts import interrupt_unnoticed

from .fit_bits import digest_without_rows
from .problems import blobs
from .worker_processes import cuts

N: Final = 700
K: Final = 8


def _weighted() -> tuple[Any, Any, dict[str, Any]]:
    points, weight = blobs(N, 3, K, spread=2.0), np.random.default_rng(1).uniform(0, 2, N)
    weight[::7] = 0
    weight[200:300] = 0
    return points, weight, {"sample_rows": 200, "tol": 0}


def _standardized() -> tuple[Any, Any, dict[str, Any]]:
    points = blobs(N, 3, K, spread=2.0) * np.array([1, 1e3, 1e-3]) + 7
    return points, None, {"sample_rows": 200, "standardize": True, "n_init": 2}


def _cosine() -> tuple[Any, Any, dict[str, Any]]:
    return blobs(N, 3, K, spread=2.0), None, {"sample_rows": 100, "distance": "cosine"}


def _empty_clusters_and_ties() -> tuple[Any, Any, dict[str, Any]]:
    points = np.random.default_rng(2).integers(-3, 4, (N, 3)).astype("f4")
    # Far out, so that most clusters are empty, and equally far rows compete for them.
    init = np.array([[1e3 + number, 0, 0] for number in range(K)])
    return points, None, {"init": init, "passes": None}


def _rare_numbers() -> tuple[Any, Any, dict[str, Any]]:
    points = blobs(N, 3, K)
    points[:, 1] = 0
    points[N - 3, 1] = 1e-20
    return points, None, {"sample_rows": N, "max_iter": 3}


FITS: Final[dict[str, Callable[[], tuple[Any, Any, dict[str, Any]]]]] = {
    "weighted": _weighted,
    "standardized": _standardized,
    "cosine": _cosine,
    "empty clusters and ties": _empty_clusters_and_ties,
    "rare numbers": _rare_numbers,
}


def part_source(kind: str, reducer: Reducer, seed: int = 0) -> tuple[RowSource, dict[str, Any]]:
    """The rows of one of the workers, and what the fit is asked for."""
    vars(source_rows)["_BLOCK_NUMBERS"] = 150
    points, weight, settings = FITS[kind]()
    start, stop = cuts(N, reducer.workers, seed)[reducer.worker]
    settings = {"seed": 3, "reducer": reducer} | settings
    if start == stop:
        return RowSource.without_rows(3, dtype=points.dtype), settings
    part = None if weight is None else weight[start:stop]
    return RowSource.from_array(points[start:stop], part), settings


def fit_part(kind: str, reducer: Reducer, seed: int = 0, **options: Any) -> str:
    """The hash of what all workers find, each of a part of the rows."""
    source, settings = part_source(kind, reducer, seed)
    return digest_without_rows(fit(source, K, **settings | options))


def fit_all(reducer: Reducer) -> dict[str, str]:
    """Those of each kind."""
    return {kind: fit_part(kind, reducer, seed) for seed, kind in enumerate(FITS)}


def go_on(reducer: Reducer, folder: str, most: int) -> list[int]:
    """Go on with a fit for so many iterations, and tell which they were."""
    seen: list[int] = []

    def stop(now: Progress) -> None:
        seen.append(now.iteration)
        if len(seen) == most:
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        fit_part("weighted", reducer, checkpoint=folder, on_iteration=stop)
    return seen


def differ(reducer: Reducer) -> list[str]:
    """What is said where workers are given different arguments, each of which ends no worker."""
    said = []
    odd = reducer.worker == 1
    source, settings = part_source("cosine", reducer)
    wide = RowSource.from_array(blobs(9, 4, 2).astype("f8"))
    for given, options in (
        (source, {"n_clusters": K - odd, "tol": 0.5 if odd else 0.25}),
        (wide if odd else source, {"n_clusters": K}),
        (source, {"n_clusters": K, "checkpoint": "/nowhere" if odd else None}),
    ):
        with pytest.raises(WorkersDiffer) as refused:
            fit(given, **settings | options)
        said.append(str(refused.value))
    return said


def everything(folder: str, reducer: Reducer, _: Connection) -> dict[str, Any]:
    """What several workers do together in one run, in the order in which they do it."""
    return {
        "differ": differ(reducer),
        "fits": fit_all(reducer),
        "iterations": go_on(reducer, folder, 2),
        "numbers": reduce_numbers(reducer),
        "whole": read_whole(reducer),
    }


def read_whole(reducer: Reducer) -> list[Any] | None:
    """What the first worker reads of all rows, by several threads too; None on the others."""
    source, _ = part_source("weighted", reducer)
    with whole_source(source, reducer) as rows:
        if rows is None:
            return None
        parts = [(0, N), (10, 10), *zip(range(0, N, 70), range(70, N + 70, 70), strict=True)]
        with ThreadPoolExecutor(4) as threads:
            blocks = list(threads.map(lambda part: rows[slice(*part)].tolist(), parts))
        return [blocks, rows.weights[:].tolist(), rows.take(np.array([3, 400, 699])).tolist()]


def reduce_numbers(reducer: Reducer) -> list[Any]:
    """What a reducer makes of numbers that tell who gave them."""
    me = reducer.worker
    rows = np.full((me, 2), me + 0.5)
    return [
        reducer.sum([[me, 2**60 + me]]).tolist(),
        reducer.maximum([me, -me, np.nan if me == 1 else 0]).tolist(),
        reducer.gather(rows).tolist(),
        reducer.gather(np.array([b"abc"[: me + 1]], "S3")).tolist(),
        reducer.broadcast(b"from %d" % me).decode(),
        reducer.broadcast(b""),
    ]


class SlowRows(RowSource):
    """Rows that take long to read, as those of a large file."""

    shape, dtype = (10**7, 3), np.dtype("f4")

    def read(self, start: int, stop: int) -> Any:
        Event().wait(0.05)
        return blobs(stop - start, 3, K)


def fit_slowly(reducer: Reducer, pipe: Connection) -> None:
    """Be in a pass over rows for long."""
    pipe.send("reads")
    vars(source_rows)["_BLOCK_NUMBERS"] = 3000
    fit(SlowRows(), K, reducer=reducer)


def wait_after_an_iteration(reducer: Reducer, pipe: Connection) -> None:
    """Let the others wait in a reduction."""

    def wait(_: Progress) -> None:
        pipe.send("waits")
        Event().wait()

    fit_part("cosine", reducer, on_iteration=wait)


def fit_on_devices(reducer: Reducer, _: Connection) -> str:
    """The fit of weighted rows, each worker's on its own devices."""
    return fit_part("weighted", reducer, engine="device")


def fit_once(reducer: Reducer, _: Connection) -> str:
    """The hash of a fit."""
    return fit_part("cosine", reducer)


def fit_and_wait_to_leave(reducer: Reducer, pipe: Connection) -> None:
    """Have the result, and wait for the others."""
    fit_part("cosine", reducer)
    pipe.send("waits")


def publish_for_ever(reducer: Reducer, pipe: Connection) -> None:
    """Do something after the fit that the others do not."""
    fit_part("cosine", reducer)
    pipe.send("waits")
    Event().wait()


def wait_for_the_other(reducer: Reducer, pipe: Connection) -> None:
    """Be in a reduction that another worker does not come to."""
    _tell_when_waiting(reducer, pipe)
    reducer.sum([1])


def wait_for_the_other_and_be_interrupted(reducer: Reducer, pipe: Connection) -> None:
    """Be interrupted in a reduction by a signal that does not wake the main thread."""
    _tell_when_waiting(reducer, pipe)
    with interrupt_unnoticed():
        reducer.sum([1])


def _tell_when_waiting(reducer: Reducer, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    add = vars(reducer)["_add"]

    def tell_and_add(numbers: Any) -> Any:
        pipe.send("waits")
        return add(numbers)

    vars(reducer)["_add"] = tell_and_add


def meet_when_told(reducer: Reducer, pipe: Connection) -> None:
    """Come to a reduction when the test says so."""
    pipe.recv()
    reducer.sum([1])


def fit_a_bad_row(reducer: Reducer, _: Connection) -> None:
    """The second worker has a row that no fit takes."""
    points = blobs(60, 3, K)
    if reducer.worker == 1:
        points[7, 2] = np.nan
    fit(RowSource.from_array(points), K, reducer=reducer)
