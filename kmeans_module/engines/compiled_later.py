"""Steps without a compiler, until the kernels of another engine are compiled.

A compiler takes one to two seconds of a core, which a short fit never gets back. So it is asked
once plain steps have taken longer, in one fit or in several, and it works in a thread beside
further steps. All engines give the same bits: but for the time nothing tells when one followed
another.
"""

import time
from collections.abc import Callable, Hashable, Sequence
from threading import Lock, Thread, main_thread
from typing import Final

from ..array_types import Float32
from ..devices import on_cpu
from .engine import Engine, FarRows, FinalState, StepSums

#: Seconds of plain steps after which a compiler pays.
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
        """Whether all are compiled. Raises what one of the calls has raised in a thread."""
        if self._error is not None:
            raise self._error
        return self._are_ready

    def compile(self, calls: Callable[[], Calls]) -> None:
        """Compile them now, where they are not."""
        for call in () if self._are_ready else calls():
            call()
        self._are_ready = True

    def spend(self, seconds: float, calls: Callable[[], Calls]) -> None:
        """Say that a plain step took so long; begin to compile in a thread where it is enough."""
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
    """Those of this engine and shape."""
    return _kernels.setdefault(key, Kernels())


class CompiledLater(Engine):
    """Plain steps, until the kernels of the engine that is meant are compiled.

    Args:
        plain: makes the engine that takes the first steps; None where these wait for the kernels.
        compiled: makes the engine that is meant.
        kernels: gives the kernels for steps from such centroids.
        calls: gives what compiles them.
    """

    def __init__(
        self,
        plain: Callable[[], Engine] | None,
        compiled: Callable[[], Engine],
        kernels: Callable[[Float32], Kernels],
        calls: Callable[[Float32], Calls],
    ) -> None:
        self._is_compiled = plain is None
        self._engine = compiled() if plain is None else plain()
        self._compiled, self._kernels, self._calls = compiled, kernels, calls
        self.scale, self.squares = self._engine.scale, self._engine.squares
        self._before: Float32 | None = None

    def step(self, centroids: Float32) -> StepSums:
        kernels = self._kernels(centroids)
        if self._is_compiled:
            kernels.compile(lambda: self._calls(centroids))
            return self._engine.step(centroids)
        if kernels.are_ready():
            self._is_compiled, self._engine = True, self._compiled()
            if self._before is not None:
                # So that it knows the assignments of the step before.
                self._engine.step(self._before)
            return self._engine.step(centroids)
        began = time.perf_counter()
        sums = self._engine.step(centroids)
        self._before = centroids
        kernels.spend(time.perf_counter() - began, lambda: self._calls(centroids))
        return sums

    def farthest(self, count: int) -> FarRows:
        return self._engine.farthest(count)

    def finish(self, centroids: Float32) -> FinalState:
        return self._engine.finish(centroids)
