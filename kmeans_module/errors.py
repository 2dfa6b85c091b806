"""What can be wrong with what the caller hands to this package."""


class KMeansError(ValueError):
    """Base of every error that this package raises for its caller's input."""


class NoArray(KMeansError):
    """What was given for an argument is no array of numbers."""


class InvalidPoints(KMeansError):
    """Points are no table of numbers, with a row and a column at least."""


class NonFinitePoint(InvalidPoints):
    """A row holds NaN or infinity."""


class ZeroPoint(InvalidPoints):
    """A row of zeros has no direction, which cosine distance needs."""


class InvalidColumns(KMeansError):
    """Columns are missing, are named twice, or hold what their kind does not."""


class InvalidWeights(KMeansError):
    """Weights are negative, not finite, all zero, or of another length than the points."""


class UnreadableRows(KMeansError):
    """The rows of a source are not there, or cannot be kept to be read again."""


class InvalidCentroids(KMeansError):
    """Given centroids are of another shape than asked for, or not finite."""


class InvalidParameter(KMeansError):
    """A parameter is out of its range."""


class NoSuchDevice(KMeansError):
    """TensorFlow sees no device of that name.

    Attributes:
        there: the names of the devices that it sees, with commas between them.
    """

    def __init__(self, device: str, there: str) -> None:
        super().__init__(
            f"device is {device!r}, and TensorFlow sees none of that name, but {there}; give one "
            "of these, or 'cpu'"
        )
        self.there = there


class DeviceMemoryExhausted(KMeansError):
    """A device has no memory left for the rows.

    Attributes:
        device: its name.
        held: what it was to hold.
    """

    def __init__(self, device: str, held: str) -> None:
        super().__init__(
            f"device {device} has no memory left for {held}; give device_memory, bytes, less than "
            "it has free, so that the rows come to it in blocks, or device='cpu'"
        )
        self.device, self.held = device, held


class NotFitted(KMeansError, AttributeError):
    """An estimator is asked for what only a fit can say."""


class InvalidAssignments(KMeansError):
    """A clustering is not one whole number a row."""


class UndefinedMeasure(KMeansError):
    """A measure is not defined: there is one cluster, or each row is a cluster of its own."""


class CheckpointMismatch(KMeansError):
    """A checkpoint is that of another fit: of other rows, or with other parameters."""


class UnusableCheckpoint(KMeansError):
    """A checkpoint cannot be read or written."""


class InvalidCluster(KMeansError):
    """``TF_CONFIG`` names no workers, or this process cannot be the one that it names."""


class WorkerAbsent(KMeansError):
    """A worker did not come."""


class WorkersDiffer(KMeansError):
    """Workers of one fit were given different parameters, or are of different releases."""


class WorkerFailed(KMeansError):
    """Another worker has ended by an error, which its line tells."""


class TooFewDistinctPoints(KMeansError):
    """There are more clusters than distinct rows.

    Attributes:
        distinct: the number of distinct rows of positive weight.
        of_sample: whether they are those of the sample that a fit begins at.
    """

    def __init__(self, message: str, distinct: int, *, of_sample: bool = False) -> None:
        super().__init__(message)
        self.distinct, self.of_sample = distinct, of_sample


class WorkerLost(RuntimeError):
    """Another worker was killed, is frozen, or cannot be reached: all are to be started again."""


class ForkedProcess(RuntimeError):
    """A fit would wait for threads that a forked process does not have."""
