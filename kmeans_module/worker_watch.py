"""Monitor the other workers: at the start, and during a fit.

TensorFlow waits forever for an absent worker. It notices a lost worker only in a collective
operation; a worker in a pass over its own rows would not notice until the end of the pass.
"""

import socket
import threading
import time
from collections.abc import Sequence
from typing import Final

from tensorflow.python.distribute.collective_all_reduce_strategy import (
    CollectiveAllReduceExtended,
)
from tensorflow.python.eager import context

from .errors import InvalidCluster, WorkerAbsent, WorkerLost
from .quiet_tensorflow import tf
from .worker_cluster import Cluster, Worker

#: Seconds between two checks of the others, and until a silent worker counts as lost.
_INTERVAL: Final = 0.5
_PATIENCE: Final = 10.0

#: Seconds that a connection, or an answer of a worker to a repeated check, may take.
_CONNECT: Final = 1.0


def join_cluster(cluster: Cluster, start_timeout: float) -> tf.distribute.Strategy:
    """Connect to the other workers.

    Args:
        cluster: of more than one worker.
        start_timeout: seconds to wait for all of them.

    Raises:
        InvalidCluster: this process cannot listen at its address, or TensorFlow was used before.
        WorkerAbsent: a worker did not connect in time.
        WorkerLost: a worker was lost before all were connected.
    """
    try:
        strategy = _strategy(cluster)
    except (RuntimeError, tf.errors.OpError) as error:
        raise _unusable(cluster, error) from error
    deadline, seen = time.monotonic() + start_timeout, set[Worker]()
    while absent := [
        worker
        for worker in cluster.peers
        if not _listens(worker) or not (worker in seen or _answers(worker, _CONNECT))
    ]:
        if gone := seen.intersection(absent):
            raise WorkerLost(f"lost {_names(gone)} before all workers were there; start all again")
        seen.update(set(cluster.peers).difference(absent))
        if time.monotonic() > deadline:
            raise _absent(absent, start_timeout)
        time.sleep(_INTERVAL)
    return strategy


def _strategy(cluster: Cluster) -> tf.distribute.Strategy:
    own = cluster.workers[cluster.own]
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(cluster.addresses),
        task_type=own.job,
        task_id=own.number,
        # Reduced data are small, and in the memory of the host.
        num_accelerators={"CPU": 1},
        rpc_layer="grpc",
    )
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=tf.distribute.experimental.CommunicationImplementation.RING
    )
    # Both would wait for the other workers forever and block Python's threads; `Watch` replaces
    # them.
    context.context().configure_coordination_service(service_type="")
    CollectiveAllReduceExtended._enable_check_health = False
    return tf.distribute.MultiWorkerMirroredStrategy(resolver, options)


def _unusable(cluster: Cluster, error: Exception) -> InvalidCluster:
    if "program startup" in str(error):
        return InvalidCluster(
            "TensorFlow was used in this process before it was connected to the other workers; "
            "connect first"
        )
    said = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return InvalidCluster(
        f"{cluster.workers[cluster.own]} cannot listen at its address ({said}); give a port of "
        "this machine that is free"
    )


def _absent(workers: Sequence[Worker], start_timeout: float) -> WorkerAbsent:
    others = [worker for worker in workers if _listens(worker)]
    why = "the program at this address is not a worker" if others else "nothing listens there"
    return WorkerAbsent(
        f"{_names(others or workers)} did not connect within {start_timeout:g} s: {why}. "
        "Start all workers, or correct TF_CONFIG"
    )


def _listens(worker: Worker) -> bool:
    host, _, port = worker.address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _CONNECT):
            return True
    except OSError:
        return False


def _names(workers: Sequence[Worker] | set[Worker]) -> str:
    return ", ".join(map(str, sorted(workers)))


class Watch:
    """Checks the other workers repeatedly, in a thread.

    Attributes:
        lost: the workers that are gone or do not answer.
    """

    def __init__(self, peers: Sequence[Worker]) -> None:
        self.lost: list[Worker] = []
        self._peers, self._stopped = peers, threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch-workers", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """Check now which workers are lost."""
        self.lost = self.lost or [each for each in self._peers if not _answers(each, _CONNECT)]

    def stop(self) -> None:
        """Stop the checks."""
        self._stopped.set()
        self._thread.join()

    def abort(self, why: str) -> None:
        """Stop the checks, and end the current and all later collective operations of this process.

        Args:
            why: the reason for the other workers, in a current or the next collective operation.
        """
        self._stopped.set()
        context.context().abort_collective_ops(tf.errors.UNAVAILABLE, why)

    def _watch(self) -> None:
        while not self._stopped.wait(_INTERVAL):
            lost = [each for each in self._peers if not _answers(each, _PATIENCE)]
            if lost and not self._stopped.is_set():
                self.lost = lost
                # Collective operations of this worker do not wait any more.
                context.context().abort_collective_ops(tf.errors.UNAVAILABLE, _names(lost))
                return


def _answers(worker: Worker, patience: float) -> bool:
    try:
        context.context().check_collective_ops_peer_health(worker.task, round(1000 * patience))
    except tf.errors.OpError:
        return False
    return True
