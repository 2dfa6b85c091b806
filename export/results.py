"""The answers of a model: named arrays, with the names, dtypes and shapes of the served contract.

In a shape, ``n`` is rows, ``d`` features, ``k`` clusters. Distances are in the model's space,
centroids in raw units. A row with NaN or infinity has ``cluster_index`` and distances -1 and
``silhouette`` 0. ``version`` is the version that answered; over REST, whose answers lack it, it is
the requested version, or None.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from kmeans_module import contract
from kmeans_module.one_line import OneLine


# Arrays have no single truth value, so results are compared by field, not with ==.
@dataclass(frozen=True, eq=False, repr=False)
class Assignment(OneLine):
    """The nearest cluster of each row.

    Attributes:
        cluster_index: int32 [n], 0-based.
        distance: float32 [n], Euclidean (not squared), to the nearest centroid.
        version: the version that answered.

    Example:
        >>> from tfkmeans import load
        >>> load("models/customers").assign([[20.0, 1.0]])
        Assignment(cluster_index=int32[1], distance=float32[1], version=1)
    """

    signature: ClassVar[str] = contract.ASSIGN

    cluster_index: NDArray[np.int32]
    distance: NDArray[np.float32]
    version: int | None


@dataclass(frozen=True, eq=False, repr=False)
class Score(OneLine):
    """The quality of the cluster of each row.

    Attributes:
        squared_distance: float32 [n], to the nearest centroid; the sum is the inertia.
        silhouette: float32 [n], the simplified silhouette, from -1 to 1.
        version: the version that answered.

    Example:
        >>> from tfkmeans import load
        >>> load("models/customers").score([[20.0, 1.0]])
        Score(squared_distance=float32[1], silhouette=float32[1], version=1)
    """

    signature: ClassVar[str] = contract.SCORE

    squared_distance: NDArray[np.float32]
    silhouette: NDArray[np.float32]
    version: int | None


@dataclass(frozen=True, eq=False, repr=False)
class Distances(OneLine):
    """The distances of each row to every centroid.

    Attributes:
        all_distances: float32 [n, k], Euclidean (not squared).
        version: the version that answered.

    Example:
        >>> from tfkmeans import load
        >>> load("models/customers").transform([[20.0, 1.0]])
        Distances(all_distances=float32[1, 3], version=1)
    """

    signature: ClassVar[str] = contract.TRANSFORM

    all_distances: NDArray[np.float32]
    version: int | None


@dataclass(frozen=True, eq=False, repr=False)
class Centroids(OneLine):
    """The centroids of the requested clusters.

    Attributes:
        centroid: float32 [n, d], in raw units.
        version: the version that answered.

    Example:
        >>> from tfkmeans import load
        >>> load("models/customers").decode([0, 1])
        Centroids(centroid=float32[2, 2], version=1)
    """

    signature: ClassVar[str] = contract.DECODE

    centroid: NDArray[np.float32]
    version: int | None
