"""What answers for the rows: the model in this process, or anything of the same shape."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from export.errors import InvalidCandidate
from kmeans_module.contract import ASSIGN
from serving.results import Assignment


class Scorer(Protocol):
    """Gives each row its cluster. The clients of a server are scorers too."""

    def assign(self, points: ArrayLike, /) -> Assignment:
        """The nearest cluster of each row of ``points``, float32 [n, d] in raw units."""


class LocalScorer:
    """A published version, loaded into this process; needs TensorFlow.

    Attributes:
        version: the number of the version.
    """

    def __init__(self, version_directory: Path) -> None:
        """Load it. Raises InvalidCandidate when it cannot be loaded or has no ``assign``."""
        import tensorflow as tf

        self.version = int(version_directory.name)
        try:
            # The signature holds the variables only weakly: the model must stay referenced.
            self._model = tf.saved_model.load(str(version_directory))
        except (OSError, tf.errors.OpError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InvalidCandidate(f"{version_directory}: cannot be loaded: {reason}") from error
        if ASSIGN not in self._model.signatures:
            raise InvalidCandidate(f"{version_directory}: has no signature {ASSIGN!r}")
        self._assign = self._model.signatures[ASSIGN]
        self._constant = tf.constant

    def assign(self, points: ArrayLike, /) -> Assignment:
        """The nearest cluster of each row of ``points``, float32 [n, d] in raw units.

        A row with NaN or infinity gets ``cluster_index`` and ``distance`` -1.
        """
        answer = self._assign(points=self._constant(np.asarray(points, np.float32)))
        return Assignment(
            cluster_index=answer["cluster_index"].numpy(),
            distance=answer["distance"].numpy(),
            version=self.version,
        )
