"""The operations of a client, the same for gRPC and REST."""

import time
from dataclasses import dataclass

from kmeans_module.contract import SignatureContract

from ..errors import DeadlineExceeded
from .target import Target
from .tensor_sizes import Arrays


@dataclass(frozen=True, eq=False)
class Predict:
    """The outputs of a signature; the answer is a Prediction."""

    target: Target
    signature: SignatureContract
    inputs: Arrays

    @property
    def size(self) -> int:
        """The bytes of the inputs."""
        return sum(array.nbytes for array in self.inputs.values())


@dataclass(frozen=True)
class GetStatus:
    """The states of the versions; the answer is a list of VersionStatus."""

    target: Target


@dataclass(frozen=True)
class GetMetadata:
    """The signatures; the answer is a ModelMetadata."""

    target: Target


Operation = Predict | GetStatus | GetMetadata


class Deadline:
    """The end of a call, with all its requests, attempts and waits."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """The seconds left; below zero after the deadline."""
        return self._end - time.monotonic()

    def remaining(self, target: Target) -> float:
        """The seconds left. Raises DeadlineExceeded after the deadline."""
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise target.error(DeadlineExceeded, f"no answer in {self.seconds:g} s")
        return seconds
