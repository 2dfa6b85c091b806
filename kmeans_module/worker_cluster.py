"""The workers of a fit and the place of this process, from ``TF_CONFIG``.

Vertex AI and Kubeflow's TFJob set the variable; set it yourself when you start workers by hand::

    {"cluster": {"worker": ["10.0.0.4:2222", "10.0.0.5:2222"]},
     "task": {"type": "worker", "index": 0}}
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from .errors import InvalidCluster

_VARIABLE: Final = "TF_CONFIG"

#: Task types with rows, in the order of TensorFlow: the chief is first.
_JOBS: Final = ("chief", "worker")

_WANTED: Final = (
    'give {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
)


class Worker(NamedTuple):
    """A worker.

    Attributes:
        job: "chief" or "worker".
        number: its number in the job, from 0.
        address: host:port, where TensorFlow of this worker listens.
    """

    job: str
    number: int
    address: str

    @property
    def task(self) -> str:
        """The name of the task in TensorFlow."""
        return f"/job:{self.job}/replica:0/task:{self.number}"

    def __str__(self) -> str:
        name = "the chief" if self.job == "chief" else f"worker {self.number}"
        return f"{name} ({self.address})"


@dataclass(frozen=True)
class Cluster:
    """The workers of a fit.

    Attributes:
        workers: the workers, the chief first.
        own: the index of this process among them.
    """

    workers: tuple[Worker, ...]
    own: int

    @property
    def addresses(self) -> dict[str, list[str]]:
        """The addresses of each job."""
        jobs: dict[str, list[str]] = {}
        for worker in self.workers:
            jobs.setdefault(worker.job, []).append(worker.address)
        return jobs

    @property
    def peers(self) -> tuple[Worker, ...]:
        """The other workers."""
        return self.workers[: self.own] + self.workers[self.own + 1 :]

    @classmethod
    def from_environment(cls) -> "Cluster":
        """Read ``TF_CONFIG``. Raises InvalidCluster."""
        text = os.environ.get(_VARIABLE, "")
        if not text.strip():
            raise _invalid("is not set")
        try:
            config = json.loads(text)
        except ValueError as error:
            raise _invalid(f"is not JSON ({error})") from None
        return _read(config)


def _read(config: Any) -> Cluster:
    if not isinstance(config, Mapping):
        raise _invalid(f"is {_shown(config)}, no object")
    jobs, task = config.get("cluster"), config.get("task")
    if not isinstance(jobs, Mapping) or not isinstance(task, Mapping):
        raise _invalid("lacks 'cluster' or 'task'")
    for job in [*jobs, task.get("type")]:
        if job not in _JOBS:
            raise _invalid(
                f"has a task of type {_shown(job)}; a fit has workers, of which one may be the "
                "chief, and neither parameter servers nor evaluators",
                "leave that task out",
            )
    workers = [
        Worker(job, number, _check_address(address))
        for job in _JOBS
        for number, address in enumerate(_check_list(job, jobs.get(job, [])))
    ]
    addresses = [worker.address for worker in workers]
    twice = next((each for each in addresses if addresses.count(each) > 1), None)
    if twice is not None:
        raise _invalid(f"has {twice} twice", "give each worker an address of its own")
    if len(_check_list("chief", jobs.get("chief", []))) > 1:
        raise _invalid("has more than one chief")
    index = task.get("index", 0)
    # Some tools write the number as text.
    index = int(index) if isinstance(index, str) and index.isdecimal() else index
    places = [(worker.job, worker.number) for worker in workers]
    if isinstance(index, bool) or (task["type"], index) not in places:
        raise _invalid(
            f"says that this is {task['type']} {_shown(index)}, and the cluster has "
            f"{len(_check_list(task['type'], jobs.get(task['type'], [])))} of type {task['type']}"
        )
    return Cluster(tuple(workers), places.index((task["type"], index)))


def _check_list(job: str, addresses: Any) -> list[Any]:
    if not isinstance(addresses, list):
        raise _invalid(f"has {_shown(addresses)} for {job!r}, no list of addresses")
    return addresses


def _check_address(address: Any) -> str:
    host, _, port = str(address).rpartition(":")
    if not (isinstance(address, str) and host and port.isdecimal() and 0 < int(port) < 65_536):
        raise _invalid(f"has the address {_shown(address)}, which is not host:port")
    return address


def _shown(value: object) -> str:
    return json.dumps(value)[:80]


def _invalid(what: str, mend: str = _WANTED) -> InvalidCluster:
    return InvalidCluster(f"{_VARIABLE} {what}; {mend}")
