"""Fits that are stopped in the middle, and go on.

    python -m tests.kmeans_module.stopped_fits KIND FOLDER DIES_AT

fits with a checkpoint in the folder, dies as of kill -9 at the DIES_AT-th thing that this does to
the file system, and prints the hash of what the fit finds if it comes to its end.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from kmeans_module import FitResult, RowSource, fit

from .fit_bits import digest_without_rows
from .problems import blobs

_EVENTS: Final = {"open", "os.rename", "os.remove", "os.mkdir"}


def _points() -> Any:
    return blobs(400, 3, 6, spread=1.5)


def _starts(checkpoint: Any, **options: Any) -> FitResult:
    weight = np.random.default_rng(1).uniform(0, 2, 400)
    settings: dict[str, Any] = {"n_init": 3, "sample_weight": weight, "max_iter": 6, "seed": 2}
    return fit(_points(), 6, checkpoint=checkpoint, **settings | options)


def _source(checkpoint: Any, **options: Any) -> FitResult:
    source = RowSource.from_array(_points())
    settings: dict[str, Any] = {"sample_rows": 60, "standardize": True, "tol": 0}
    return fit(source, 6, checkpoint=checkpoint, **settings | options)


def _array_as_a_source(checkpoint: Any, **options: Any) -> FitResult:
    settings: dict[str, Any] = {
        "sample_rows": 60,
        "standardize": True,
        "tol": 0,
        "seeding": "sample",
    }
    return fit(_points(), 6, checkpoint=checkpoint, **settings | options)


FITS: Final[dict[str, Callable[..., FitResult]]] = {
    "three starts in memory": _starts,
    "source": _source,
    "array as a source": _array_as_a_source,
}


class Points:
    """What a fit does to the file system of its checkpoint, counted.

    Attributes:
        passed: how many things it has done.
        dies_at: at which of them ``die`` is called.
    """

    def __init__(self) -> None:
        self.passed, self.dies_at, self._folder = 0, 0, ""
        self._die: Callable[[], None] = lambda: None
        sys.addaudithook(self._watch)
        # Python has no audit event for it.
        fsync = os.fsync

        def watched(descriptor: int) -> None:
            self._pass()
            fsync(descriptor)

        vars(os)["fsync"] = watched

    @contextmanager
    def dying(self, folder: Any, dies_at: int, die: Callable[[], None]) -> Iterator[None]:
        self.passed, self.dies_at, self._folder, self._die = 0, dies_at, str(folder), die
        try:
            yield
        finally:
            self._folder = ""

    def _watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._folder and event in _EVENTS and str(arguments[0]).startswith(self._folder):
            self._pass()

    def _pass(self) -> None:
        if self._folder:
            self.passed += 1
            if self.passed == self.dies_at:
                self._die()


def main() -> None:
    """Fit, and die or print."""
    kind, folder, dies_at = sys.argv[1:]
    with Points().dying(folder, int(dies_at), lambda: os.kill(os.getpid(), signal.SIGKILL)):
        found = FITS[kind](folder)
    sys.stdout.write(digest_without_rows(found))


if __name__ == "__main__":
    main()
