"""Results that only clients return; ``export.results`` has the others.

In a shape, ``n`` is rows, ``d`` features, ``k`` clusters, ``b`` independent problems.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from export.results import Assignment, Centroids, Distances, Score
from kmeans_module import contract
from kmeans_module.one_line import OneLine

__all__ = [
    "Assignment",
    "Centroids",
    "Distances",
    "FitStepResult",
    "ModelMetadata",
    "Prediction",
    "Score",
    "Signature",
    "Tensor",
    "VersionStatus",
]


@dataclass(frozen=True, eq=False, repr=False)
class FitStepResult(OneLine):
    """The outcome of ``b`` independent Lloyd steps.

    Attributes:
        centroids: float32 [b, k, d], in raw units; an empty cluster keeps its centroid.
        counts: float32 [b, k], the sum of weights of each cluster.
        inertia: float32 [b], the weighted sum of squared distances to the given centroids.
        shift: float32 [b], the squared Frobenius norm of the change of the centroids.
        version: the version that answered.

    Example:
        >>> from tfkmeans import GrpcClient
        >>> rows, centroids = [[[0.0, 0.0], [9.0, 9.0]]], [[[1.0, 1.0], [8.0, 8.0]]]
        >>> with GrpcClient("localhost:8500", "customers") as client:
        ...     step = client.fit_step(rows, [[1.0, 1.0]], centroids)
        >>> step.centroids
        array([[[0., 0.],
                [9., 9.]]], dtype=float32)
        >>> step.inertia
        array([4.], dtype=float32)
    """

    signature: ClassVar[str] = contract.FIT_STEP

    centroids: NDArray[np.float32]
    counts: NDArray[np.float32]
    inertia: NDArray[np.float32]
    shift: NDArray[np.float32]
    version: int | None


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(OneLine):
    """The outputs of any signature.

    Attributes:
        outputs: by name, in the order of the contract, with its dtypes and shapes.
        version: the version that answered.

    Example:
        >>> from tfkmeans import GrpcClient
        >>> with GrpcClient("localhost:8500", "customers") as client:
        ...     client.predict("assign", {"points": [[20.0, 1.0]]})
        Prediction(outputs={'cluster_index': int32[1], 'distance': float32[1]}, version=1)
    """

    outputs: Mapping[str, NDArray[Any]]
    version: int | None


@dataclass(frozen=True)
class VersionStatus:
    """One version of a model on the server.

    Attributes:
        version: its number.
        state: UNKNOWN, START, LOADING, AVAILABLE, UNLOADING or END.
        error_code: OK, or the name of the error code of the version.
        error_message: the message of the error; empty without an error.

    Example:
        >>> from tfkmeans import GrpcClient
        >>> with GrpcClient("localhost:8500", "customers") as client:
        ...     print(*client.status())
        version 1 is AVAILABLE
    """

    version: int
    state: str
    error_code: str
    error_message: str

    def __str__(self) -> str:
        """Text such as ``version 3 is AVAILABLE``, with the error if there is one."""
        fault = f" ({self.error_code}: {self.error_message})" if self.error_code != "OK" else ""
        return f"version {self.version} is {self.state}{fault}"


@dataclass(frozen=True)
class Tensor:
    """A declared tensor of a signature.

    Attributes:
        dtype: the name of the dtype in NumPy, such as ``float32``; ``string`` for bytes.
        shape: the sizes, None for a variable dimension; None as a whole if the rank is variable.

    Example:
        >>> from tfkmeans import Tensor
        >>> print(Tensor("float32", (None, 4)))
        float32 [*, 4]
    """

    dtype: str
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        """Text such as ``float32 [*, 4]``."""
        if self.shape is None:
            return f"{self.dtype} of any rank"
        return f"{self.dtype} [{', '.join('*' if n is None else str(n) for n in self.shape)}]"


@dataclass(frozen=True)
class Signature:
    """The declared inputs and outputs of a signature, by name.

    Attributes:
        inputs: the input tensors.
        outputs: the output tensors.

    Example:
        >>> from tfkmeans import GrpcClient
        >>> with GrpcClient("localhost:8500", "customers") as client:
        ...     signature = client.metadata().signatures["assign"]
        >>> print(signature.inputs["points"])
        float32 [*, 2]
    """

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]


@dataclass(frozen=True)
class ModelMetadata:
    """The metadata of a loaded version.

    Attributes:
        version: the version that answered.
        signatures: the signatures by name.

    Example:
        >>> from tfkmeans import GrpcClient
        >>> with GrpcClient("localhost:8500", "customers") as client:
        ...     metadata = client.metadata()
        >>> metadata.version, "assign" in metadata.signatures
        (1, True)
    """

    version: int
    signatures: Mapping[str, Signature]
