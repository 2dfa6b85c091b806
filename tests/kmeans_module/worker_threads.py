"""Workers in threads of this process: a `Reducer` without TensorFlow, for what only reduces."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kmeans_module import Reducer

from .worker_processes import DEADLINE

T = TypeVar("T")


class _Thread(Reducer):
    """One of the threads; ``slots`` has what each gives."""

    def __init__(self, worker: int, barrier: Barrier, slots: list[Any]) -> None:
        self.worker, self.workers = worker, len(slots)
        self._barrier, self._slots = barrier, slots

    def sum(self, numbers: ArrayLike) -> NDArray[np.int64]:
        return np.sum(self._meet(np.asarray(numbers, np.int64)), axis=0)  # type: ignore[no-any-return]

    def maximum(self, numbers: ArrayLike) -> NDArray[np.float64]:
        return np.max(self._meet(np.asarray(numbers, np.float64)), axis=0)  # type: ignore[no-any-return]

    def gather(self, rows: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate(self._meet(rows))

    def broadcast(self, content: bytes) -> bytes:
        return bytes(self._meet(content)[0])

    def check(self) -> None:
        """None is lost."""

    def agree(self, facts: Mapping[str, Any]) -> None:
        assert all(each == facts for each in self._meet(dict(facts)))

    def when_all_have_ended(self, do: Callable[[], None]) -> None:
        do()

    def _meet(self, given: Any) -> list[Any]:
        self._slots[self.worker] = given
        self._barrier.wait(DEADLINE)
        found = list(self._slots)
        self._barrier.wait(DEADLINE)
        return found


def run_workers(count: int, function: Callable[[Reducer], T]) -> list[T]:
    """What the function gives on each of so many workers; what one raises is raised."""
    barrier, slots = Barrier(count), [None] * count

    def work(number: int) -> T:
        try:
            return function(_Thread(number, barrier, slots))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(count) as threads:
        return [each.result() for each in [threads.submit(work, n) for n in range(count)]]
