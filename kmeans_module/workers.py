"""One fit on many machines: each worker reads its own rows, and the results are reduced.

A `Reducer` does the collective operations. For one process it is `ALONE`; for several it uses
`tf.distribute.MultiWorkerMirroredStrategy`, whose collectives use gRPC between workers. All workers
call the same functions in the same order, with arrays of the same shape, and get the same results.

Only integers are summed, so the bits do not depend on the number of workers or on the distribution
of the rows. Any failure ends the fit on all workers; restart the job, which continues from a
checkpoint.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import Any, Final, Protocol, TypeVar, cast, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import WorkerFailed, WorkerLost, WorkersDiffer
from .quiet_tensorflow import tf
from .signal_waits import result_of
from .worker_cluster import Cluster, Worker
from .worker_watch import Watch, join_cluster

Int64 = NDArray[np.int64]
Scalar = TypeVar("Scalar", bound=np.generic)

#: Numbers of the first message of each collective operation. Its length is fixed, so that a worker
#: that ends with an error can take part in the operation of the others. It is large enough for the
#: reduction of a step without a second message, and small enough to cost no time.
_MEETING: Final = 4096


class Reducer(Protocol):
    """Collective operations of workers; all call the same methods in the same order.

    Attributes:
        worker: the number of this worker, from 0; 0 is the chief.
        workers: the number of workers.

    Example:
        >>> from tfkmeans import connect_workers
        >>> with connect_workers() as reducer:
        ...     reducer.worker, reducer.workers, reducer.sum([1, 2])
        (0, 1, array([1, 2]))
    """

    worker: int
    workers: int

    def sum(self, numbers: ArrayLike) -> Int64:
        """Return the sum over the workers.

        Args:
            numbers: int64 [...], with the same shape on all workers.

        Returns:
            int64 [...], the same on all workers.

        Raises:
            WorkerFailed: another worker ended with an error.
            WorkerLost: a worker is lost.

        Example:
            >>> from tfkmeans import connect_workers
            >>> with connect_workers() as reducer:  # one worker
            ...     reducer.sum([1, 2])
            array([1, 2])
        """

    def maximum(self, numbers: ArrayLike) -> NDArray[np.float64]:
        """Return the maximum over the workers; NaN counts as larger than all numbers.

        Args:
            numbers: float64 [...], with the same shape on all workers.

        Returns:
            float64 [...], the same on all workers.

        Raises:
            WorkerFailed: another worker ended with an error.
            WorkerLost: a worker is lost.

        Example:
            >>> from tfkmeans import connect_workers
            >>> with connect_workers() as reducer:  # one worker
            ...     reducer.maximum([1.5, 2.5])
            array([1.5, 2.5])
        """

    def gather(self, rows: NDArray[Scalar]) -> NDArray[Scalar]:
        """Return the rows of all workers, in the order of the workers.

        Args:
            rows: [m, ...]; m may differ between workers.

        Returns:
            All rows, the same on all workers.

        Raises:
            WorkerFailed: another worker ended with an error.
            WorkerLost: a worker is lost.

        Example:
            >>> import numpy as np
            >>> from tfkmeans import connect_workers
            >>> with connect_workers() as reducer:  # one worker
            ...     reducer.gather(np.array([[20.0, 1.0]]))
            array([[20.,  1.]])
        """

    def broadcast(self, content: bytes) -> bytes:
        """Return the bytes of the chief on all workers.

        Args:
            content: bytes; those of the other workers are ignored.

        Returns:
            The bytes of the chief.

        Raises:
            WorkerFailed: another worker ended with an error.
            WorkerLost: a worker is lost.

        Example:
            >>> from tfkmeans import connect_workers
            >>> with connect_workers() as reducer:  # one worker
            ...     reducer.broadcast(b"settings of the chief")
            b'settings of the chief'
        """

    def check(self) -> None:
        """Check that no worker is lost.

        Raises:
            WorkerLost: a worker is lost.

        Example:
            >>> from tfkmeans import connect_workers
            >>> with connect_workers() as reducer:  # one worker
            ...     reducer.check()
        """

    def agree(self, facts: Mapping[str, Any]) -> None:
        """Check that all workers give the same facts.

        Args:
            facts: values by name, of types that JSON has.

        Raises:
            WorkersDiffer: a worker gives another value.
            WorkerFailed: another worker ended with an error.
            WorkerLost: a worker is lost.

        Example:
            >>> from tfkmeans import connect_workers
            >>> with connect_workers() as reducer:  # one worker
            ...     reducer.agree({"columns": ["age", "income"]})
        """

    def when_all_have_ended(self, do: Callable[[], None]) -> None:
        """Call a function after all workers have ended; at once if there is one worker.

        Args:
            do: the function.

        Raises:
            Exception: what the function raises, after all workers have ended.

        Example:
            >>> from tfkmeans import connect_workers
            >>> with connect_workers() as reducer:  # one worker
            ...     reducer.when_all_have_ended(lambda: print("all have ended"))
            all have ended
        """


@final
class _Alone(Reducer):
    """One process."""

    worker, workers = 0, 1

    def sum(self, numbers: ArrayLike) -> Int64:
        return np.asarray(numbers, np.int64)

    def maximum(self, numbers: ArrayLike) -> NDArray[np.float64]:
        return np.asarray(numbers, np.float64)

    def gather(self, rows: NDArray[Scalar]) -> NDArray[Scalar]:
        return rows

    def broadcast(self, content: bytes) -> bytes:
        return content

    def check(self) -> None:
        """Do nothing: there is no other worker."""

    def agree(self, facts: Mapping[str, Any]) -> None:
        """Do nothing: there is no other worker."""

    def when_all_have_ended(self, do: Callable[[], None]) -> None:
        do()


ALONE: Final[Reducer] = _Alone()


@contextmanager
def connect_workers(*, start_timeout: float = 600) -> Iterator[Reducer]:
    """Connect this process to the workers of ``TF_CONFIG``.

    Enter the context before TensorFlow is used in the process. It waits for all workers at its
    start and at its end, so after it all workers have finished. An error inside ends the context on
    all workers, and these processes cannot connect again. An interrupted worker (KeyboardInterrupt,
    SystemExit) counts as lost.

    Args:
        start_timeout: seconds to wait for the last worker.

    Yields:
        The reducer of the workers, for ``fit(..., reducer=)``.

    Raises:
        InvalidCluster: ``TF_CONFIG`` is not set, or is invalid.
        WorkerAbsent: a worker did not connect in time.
        WorkerLost: a connected worker is lost.
        WorkerFailed: a worker ended with an error inside the context.
        WorkersDiffer: the workers have different releases.

    Example:
        >>> from tfkmeans import RowSource, connect_workers, fit
        >>> with connect_workers(start_timeout=60) as reducer:
        ...     source = RowSource.from_array([[0.0], [1.0], [9.0]])
        ...     result = fit(source, n_clusters=2, reducer=reducer)
        >>> result.inertia
        0.5
    """
    cluster = Cluster.from_environment()
    if len(cluster.workers) == 1:
        yield ALONE
        return
    reducer = _Collective(cluster, join_cluster(cluster, start_timeout))
    try:
        reducer.agree({"tfkmeans": version("tfkmeans"), "TensorFlow": tf.__version__})
        yield reducer
        reducer.leave()
    except (WorkerFailed, WorkerLost):
        raise
    except Exception as error:
        reducer.fail(error)
        raise
    except BaseException:  # Ctrl-C: do not wait for others
        reducer.abort()
        raise
    for do in reducer.last:
        do()


@final
class _Collective(Reducer):
    """The collectives of TensorFlow."""

    def __init__(self, cluster: Cluster, strategy: tf.distribute.Strategy) -> None:
        self.worker, self.workers = cluster.own, len(cluster.workers)
        self._cluster, self._watch = cluster, Watch(cluster.peers)
        self.last: list[Callable[[], None]] = []
        # A thread inside TensorFlow does not receive Ctrl-C; the thread that waits for it does.
        self._thread = ThreadPoolExecutor(1, "meet-workers")

        # Without the copy, TensorFlow treats an argument as one without a device.
        def add(numbers: tf.Tensor) -> tf.Tensor:
            replica = tf.distribute.get_replica_context()
            return replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(numbers))

        def join(numbers: tf.Tensor) -> tf.Tensor:
            return tf.distribute.get_replica_context().all_gather(tf.identity(numbers), axis=0)

        def graph(function: Callable[[tf.Tensor], tf.Tensor]) -> Any:
            # A graph takes a tenth of the time.
            return tf.function(
                lambda numbers: strategy.run(function, (numbers,)),
                [tf.TensorSpec([None], tf.int64)],
                autograph=False,
            )

        self._add, self._join = graph(add), graph(join)

    def sum(self, numbers: ArrayLike) -> Int64:
        given = np.asarray(numbers, np.int64)
        flat = given.reshape(-1)
        total = self._meet(flat[: _MEETING - 1])
        if len(flat) > len(total):
            total = np.concatenate([total, self._run(self._add, flat[len(total) :])])
        return total.reshape(given.shape)

    def maximum(self, numbers: ArrayLike) -> NDArray[np.float64]:
        given = np.asarray(numbers, np.float64)
        largest: NDArray[np.float64] = self.gather(given[None]).max(axis=0)
        return largest

    def gather(self, rows: NDArray[Scalar]) -> NDArray[Scalar]:
        own = np.ascontiguousarray(rows)
        content = b"".join(self._gather_bytes(own.tobytes(), self.sum))
        row_bytes = own.itemsize * math.prod(own.shape[1:])
        joined = np.empty((len(content) // row_bytes, *own.shape[1:]), own.dtype)
        joined.reshape(-1).view(np.uint8)[:] = np.frombuffer(content, np.uint8)
        return joined

    def broadcast(self, content: bytes) -> bytes:
        own = content if self.worker == 0 else b""
        (size,) = self.sum([len(own)])
        if not size:
            return b""
        numbers = np.zeros(-(-int(size) // 8), np.int64)
        numbers.view(np.uint8)[: len(own)] = np.frombuffer(own, np.uint8)
        return self._run(self._add, numbers).tobytes()[:size]

    def check(self) -> None:
        if self._watch.lost:
            raise _lost(self._watch.lost)

    def agree(self, facts: Mapping[str, Any]) -> None:
        own = json.dumps(facts).encode()
        said = [json.loads(each) for each in self._gather_bytes(own, self.sum)]
        chief = self._cluster.workers[0]
        for worker, each in zip(self._cluster.workers, said, strict=True):
            differing = [
                f"{name} is {each.get(name)} there and {said[0].get(name)} on {chief}"
                for name in sorted({*each, *said[0]})
                if each.get(name) != said[0].get(name)
            ]
            if differing:
                raise WorkersDiffer(
                    f"{worker} has other settings: {'; '.join(differing)}. Start the same "
                    "command, of one release, on all workers"
                )

    def when_all_have_ended(self, do: Callable[[], None]) -> None:
        self.last.append(do)

    def leave(self) -> None:
        """Wait for the others; on return, all workers are here."""
        self._meet()
        self._watch.stop()
        # A worker that has left does not answer any more, and must not count as lost: the
        # collective operation has shown that it was here.
        with suppress(tf.errors.OpError):
            self._add(tf.zeros([1], tf.int64))

    def fail(self, error: Exception) -> None:
        """Tell the others in the next collective operation that this worker has failed."""
        with suppress(WorkerFailed, WorkerLost):
            self._meet(said=f"{type(error).__name__}: {error}")
        self._watch.stop()

    def abort(self) -> None:
        """Let the next collective operation of the others fail, without waiting for them."""
        self._watch.abort(f"{self._cluster.workers[self.worker].task} was interrupted")

    def _meet(self, numbers: ArrayLike = (), said: str = "") -> Int64:
        """Return the sum of a few numbers [m]; raise if a worker has failed, so that none waits.

        Raises:
            WorkerFailed: the message of the worker that ended.
        """
        given = np.asarray(numbers, np.int64)
        message = np.zeros(_MEETING, np.int64)
        message[0], message[1 : 1 + len(given)] = bool(said), given
        total = self._run(self._add, message)
        if not total[0]:
            return total[1 : 1 + len(given)]
        told = [
            each.decode()
            for each in self._gather_bytes(said.encode(), lambda sizes: self._run(self._add, sizes))
        ]
        worker, line = next(
            pair for pair in zip(self._cluster.workers, told, strict=True) if pair[1]
        )
        raise WorkerFailed(f"{worker} ended by {line}")

    def _gather_bytes(self, content: bytes, add: Callable[[Int64], Int64]) -> list[bytes]:
        """Return the contents of all workers; ``add`` sums their sizes."""
        sizes = np.zeros(self.workers, np.int64)
        sizes[self.worker] = len(content)
        sizes = add(sizes)
        # Padded to the same length on all workers.
        numbers = np.zeros(-(-int(sizes.max()) // 8), np.int64)
        if not len(numbers):
            return [b""] * self.workers
        numbers.view(np.uint8)[: len(content)] = np.frombuffer(content, np.uint8)
        joined = self._run(self._join, numbers).reshape(self.workers, -1).view(np.uint8)
        return [row[:size].tobytes() for row, size in zip(joined, sizes, strict=True)]

    def _run(self, function: Callable[[tf.Tensor], tf.Tensor], numbers: Int64) -> Int64:
        self.check()
        try:
            found = self._thread.submit(lambda: function(tf.constant(numbers)).numpy())
            return cast(Int64, result_of(found))
        except tf.errors.OpError as error:
            self._watch.look()
            told = [each for each in self._cluster.peers if each.task in error.message]
            raise _lost(self._watch.lost or told) from None
        except BaseException:
            # The next reduction of this worker would not match that of the others.
            self.abort()
            raise


def _lost(workers: Sequence[Worker]) -> WorkerLost:
    names = ", ".join(map(str, workers)) or "an unknown worker"
    return WorkerLost(
        f"lost {names}: the fit ends on all; start all workers again, and with a checkpoint they "
        "go on"
    )
