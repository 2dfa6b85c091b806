"""Steps with few or no kernels, until the kernels of a faster engine are compiled.

A compiler takes half a second for a search, and two for all kernels of an engine, which a short fit
never gets back. So it is asked once steps without them have taken as long, in one fit or in
several, and it works in a thread beside further steps. All engines give the same bits: but for the
time nothing tells when one followed another.
"""

import time
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from threading import Lock, Thread, main_thread
from typing import Final, NamedTuple

from ..array_types import Float32
from ..cluster_sums import SumScale
from ..devices import on_cpu
from .engine import Engine, FarRows, FinalState, StepSums

#: Seconds of steps after which compilation pays off.
_PATIENCE: Final = 3.0

#: Each compiles a kernel.
Calls = Sequence[Callable[[], object]]


class Kernels:
    """The kernels of one engine for one shape of the problem, compiled once in a process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._spent = 0.0
        self._thread: Thread | None = None
        self._are_ready = False
        self._error: Exception | None = None

    def are_ready(self) -> bool:
        """Whether all kernels are compiled. Raises the error of a call in a thread."""
        if self._error is not None:
            raise self._error
        return self._are_ready

    def compile(self, calls: Callable[[], Calls]) -> None:
        """Compile them now, where they are not."""
        for call in () if self._are_ready else calls():
            call()
        self._are_ready = True

    def spend(self, seconds: float, calls: Callable[[], Calls]) -> None:
        """Add the time of a step without kernels; after enough time, compile in a thread."""
        with self._lock:
            self._spent += seconds
            if self._spent < _PATIENCE or self._thread is not None:
                return
            self._thread = Thread(target=self._compile_beside, args=(calls,), name="compile")
            self._thread.start()

    def _compile_beside(self, calls: Callable[[], Calls]) -> None:
        try:
            with on_cpu():
                for call in calls():
                    # A process that is to end waits for this thread: for one kernel at most.
                    if not main_thread().is_alive():
                        return
                    call()
            self._are_ready = True
        except Exception as error:  # noqa: BLE001  # raised in the fit that asks for the kernels
            self._error = error


_kernels: Final[dict[Hashable, Kernels]] = {}


def kernels_of(key: Hashable) -> Kernels:
    """Return the kernels of this engine and shape."""
    return _kernels.setdefault(key, Kernels())


class Stage(NamedTuple):
    """An engine, and the kernels that it needs.

    Attributes:
        engine: makes it.
        kernels: gives its kernels for steps from such centroids.
        calls: gives what compiles them.
    """

    engine: Callable[[], Engine]
    kernels: Callable[[Float32], Kernels]
    calls: Callable[[Float32], Calls]


class CompiledLater(Engine):
    """Steps of one engine, until the kernels of a quicker one are compiled.

    Args:
        stages: the quicker the later. The first is waited for, and the last is what is meant.
        scale, squares: those of each of the engines.
    """

    def __init__(self, stages: Sequence[Stage], scale: SumScale, squares: float) -> None:
        self.scale, self.squares = scale, squares
        self._stages = list(stages)
        self._engine: Engine | None = None
        self._before: Float32 | None = None

    def step(self, centroids: Float32) -> StepSums:
        engine = self._engine_for(centroids)
        began = time.perf_counter()
        sums = engine.step(centroids)
        if len(self._stages) > 1:
            seconds, following = time.perf_counter() - began, self._stages[1]
            following.kernels(centroids).spend(seconds, partial(following.calls, centroids))
        self._before = centroids
        return sums

    def farthest(self, count: int) -> FarRows:
        return self._started().farthest(count)

    def finish(self, centroids: Float32) -> FinalState:
        if self._engine is None:
            self.step(centroids)
        return self._started().finish(centroids)

    def _started(self) -> Engine:
        assert self._engine is not None, "no step was taken"
        return self._engine

    def _engine_for(self, centroids: Float32) -> Engine:
        """Return the engine of the last stage that is ready."""
        later = range(len(self._stages) - 1, 0, -1)
        ready = (number for number in later if self._is_ready(number, centroids))
        number = next(ready, 0)
        stage = self._stages[number]
        stage.kernels(centroids).compile(partial(stage.calls, centroids))
        if number or self._engine is None:
            del self._stages[:number]
            self._engine = stage.engine()
            if self._before is not None:
                # So that it knows the assignments of the step before.
                self._engine.step(self._before)
        return self._engine

    def _is_ready(self, number: int, centroids: Float32) -> bool:
        return self._stages[number].kernels(centroids).are_ready()
