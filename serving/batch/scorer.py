"""What answers for the rows: the model in this process, or anything of the same shape."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from export.errors import InvalidCandidate
from kmeans_module.contract import SIGNATURES
from serving.clients.results import Assignment, Distances, Score

Result = TypeVar("Result", Assignment, Score, Distances)


class Scorer(Protocol):
    """Answers for each row, float32 [n, d] in raw units. Threads may share it."""

    def assign(self, points: ArrayLike, /) -> Assignment:
        """The nearest cluster of each row, and the distance to it."""

    def score(self, points: ArrayLike, /) -> Score:
        """How well each row fits its cluster."""

    def transform(self, points: ArrayLike, /) -> Distances:
        """The distances of each row to every centroid."""

    def confirm(self) -> None:
        """Find out, before its answers count, whether it is still the same model that answers."""


class SignatureScorer(ABC):
    """A scorer whose methods all go through one that is given the signature's result."""

    def assign(self, points: ArrayLike, /) -> Assignment:
        """The nearest cluster of each row, and the distance to it."""
        return self._predict(Assignment, points)

    def score(self, points: ArrayLike, /) -> Score:
        """How well each row fits its cluster."""
        return self._predict(Score, points)

    def transform(self, points: ArrayLike, /) -> Distances:
        """The distances of each row to every centroid."""
        return self._predict(Distances, points)

    @abstractmethod
    def confirm(self) -> None:
        """Find out, before its answers count, whether it is still the same model that answers."""

    @abstractmethod
    def _predict(self, result: type[Result], points: ArrayLike) -> Result:
        """The answer of the signature that gives ``result``."""


class LocalScorer(SignatureScorer):
    """A published version, loaded into this process; needs TensorFlow.

    A row with NaN or infinity is answered with -1, as by a server.

    Attributes:
        version: the number of the version.
    """

    def __init__(self, version_directory: Path) -> None:
        """Load it. Raises InvalidCandidate when it cannot be loaded or lacks a signature."""
        import tensorflow as tf

        self.version = int(version_directory.name)
        try:
            # The signature holds the variables only weakly: the model must stay referenced.
            self._model = tf.saved_model.load(str(version_directory))
        except (OSError, tf.errors.OpError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InvalidCandidate(f"{version_directory}: cannot be loaded: {reason}") from error
        for result in (Assignment, Score, Distances):
            if result.signature not in self._model.signatures:
                raise InvalidCandidate(
                    f"{version_directory}: has no signature {result.signature!r}"
                )
        self._constant = tf.constant

    def confirm(self) -> None:
        """Nothing changes a model that is loaded."""

    def _predict(self, result: type[Result], points: ArrayLike) -> Result:
        signature = self._model.signatures[result.signature]
        answer = signature(points=self._constant(np.asarray(points, np.float32)))
        outputs: dict[str, Any] = {
            tensor.name: answer[tensor.name].numpy()
            for tensor in SIGNATURES[result.signature].outputs
        }
        return result(**outputs, version=self.version)
