"""What can be wrong with what the caller hands to this package.

::

    KMeansError(ValueError)
     ├── InvalidPoints         not two-dimensional, not numeric, no rows, no columns
     │    ├── NonFinitePoint   a row with NaN or infinity
     │    └── ZeroPoint        a row of zeros, which has no direction for cosine distance
     ├── InvalidWeights        negative, not finite, all zero, of another length
     ├── InvalidCentroids      an init array of another shape, or not finite
     ├── InvalidParameter      n_clusters, n_init, max_iter, tol, init, distance, seed out of range
     ├── InvalidAssignments    a clustering is not one whole number a row
     ├── UndefinedMeasure      a measure of one cluster, or of clusters of one row each
     └── TooFewDistinctPoints  more clusters than distinct rows of positive weight

    RuntimeError
     └── ForkedProcess         a fit in a fork of a process that had fitted
"""


class KMeansError(ValueError):
    """Base of every error that this package raises for its caller's input."""


class InvalidPoints(KMeansError):
    """The points are no table of numbers."""


class NonFinitePoint(InvalidPoints):
    """A row holds NaN or infinity."""


class ZeroPoint(InvalidPoints):
    """A row of zeros has no direction, which cosine distance needs."""


class InvalidWeights(KMeansError):
    """The sample weights do not fit the points."""


class InvalidCentroids(KMeansError):
    """The given centroids do not fit the points."""


class InvalidParameter(KMeansError):
    """A parameter is out of its range."""


class InvalidAssignments(KMeansError):
    """A clustering is not one whole number a row."""


class UndefinedMeasure(KMeansError):
    """A measure is not defined: there is one cluster, or each row is a cluster of its own."""


class TooFewDistinctPoints(KMeansError):
    """There are more clusters than distinct rows.

    Attributes:
        distinct: the number of distinct rows of positive weight.
    """

    def __init__(self, message: str, distinct: int) -> None:
        super().__init__(message)
        self.distinct = distinct


class ForkedProcess(RuntimeError):
    """A fit would wait for threads that a forked process does not have."""
