"""What the clients answer: named arrays, with the names, dtypes and shapes of the served contract.

In a shape, ``n`` is rows, ``d`` features, ``k`` clusters, ``b`` independent problems. Distances are
in the model's space, centroids in raw units. A row with NaN or infinity has ``cluster_index`` and
distances -1 and ``silhouette`` 0. ``version`` is the version that answered; over REST, which does
not tell, it is the version that was asked for, or None.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from kmeans_module import contract


# Arrays have no single truth value, so that results are compared by field, not with ==.
@dataclass(frozen=True, eq=False)
class Assignment:
    """The nearest cluster of each row.

    Attributes:
        cluster_index: int32 [n], 0-based.
        distance: float32 [n], Euclidean (not squared), to the nearest centroid.
    """

    signature: ClassVar[str] = contract.ASSIGN

    cluster_index: NDArray[np.int32]
    distance: NDArray[np.float32]
    version: int | None


@dataclass(frozen=True, eq=False)
class Score:
    """How well each row fits its cluster.

    Attributes:
        squared_distance: float32 [n], to the nearest centroid; the sum is the inertia.
        silhouette: float32 [n], the simplified silhouette, from -1 to 1.
    """

    signature: ClassVar[str] = contract.SCORE

    squared_distance: NDArray[np.float32]
    silhouette: NDArray[np.float32]
    version: int | None


@dataclass(frozen=True, eq=False)
class Distances:
    """The distances of each row to every centroid.

    Attributes:
        all_distances: float32 [n, k], Euclidean (not squared).
    """

    signature: ClassVar[str] = contract.TRANSFORM

    all_distances: NDArray[np.float32]
    version: int | None


@dataclass(frozen=True, eq=False)
class Centroids:
    """The centroids of the clusters that were named.

    Attributes:
        centroid: float32 [n, d], in raw units.
    """

    signature: ClassVar[str] = contract.DECODE

    centroid: NDArray[np.float32]
    version: int | None


@dataclass(frozen=True, eq=False)
class FitStepResult:
    """The outcome of ``b`` independent Lloyd steps.

    Attributes:
        centroids: float32 [b, k, d], in raw units; an empty cluster keeps its centroid.
        counts: float32 [b, k], the weight of each cluster.
        inertia: float32 [b], the weighted sum of squared distances before the move.
        shift: float32 [b], the squared Frobenius norm of the move.
    """

    signature: ClassVar[str] = contract.FIT_STEP

    centroids: NDArray[np.float32]
    counts: NDArray[np.float32]
    inertia: NDArray[np.float32]
    shift: NDArray[np.float32]
    version: int | None


@dataclass(frozen=True, eq=False)
class Prediction:
    """The outputs of any signature.

    Attributes:
        outputs: by name, in the order of the contract, with its dtypes and shapes.
    """

    outputs: Mapping[str, NDArray[Any]]
    version: int | None


@dataclass(frozen=True)
class VersionStatus:
    """One version of a model on the server.

    Attributes:
        version: its number.
        state: UNKNOWN, START, LOADING, AVAILABLE, UNLOADING or END.
        error_code: OK, or the name of the code of what went wrong with it.
        error_message: what went wrong, empty where nothing did.
    """

    version: int
    state: str
    error_code: str
    error_message: str


@dataclass(frozen=True)
class Tensor:
    """A declared tensor of a signature.

    Attributes:
        dtype: NumPy's name of it, such as ``float32``; ``string`` for bytes.
        shape: None for a dimension that is free; None as a whole where even the rank is.
    """

    dtype: str
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        """As in ``float32 [*, 4]``."""
        if self.shape is None:
            return f"{self.dtype} of any rank"
        return f"{self.dtype} [{', '.join('*' if n is None else str(n) for n in self.shape)}]"


@dataclass(frozen=True)
class Signature:
    """The declared inputs and outputs of a signature, by name."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]


@dataclass(frozen=True)
class ModelMetadata:
    """What a loaded version says of itself.

    Attributes:
        version: the version that answered.
        signatures: by name.
    """

    version: int
    signatures: Mapping[str, Signature]
