"""What can be wrong with what the caller hands to this package."""


class KMeansError(ValueError):
    """Base of every error that this package raises for its caller's input.

    Example:
        >>> from tfkmeans import KMeansError, fit
        >>> try:
        ...     fit([[0.0], [1.0]], n_clusters=3)
        ... except KMeansError as error:
        ...     print(type(error).__name__)
        TooFewDistinctPoints
    """


class NoArray(KMeansError):
    """What was given for an argument is no array of numbers."""


class InvalidPoints(KMeansError):
    """Points are no table of numbers, with a row and a column at least.

    Example:
        >>> from tfkmeans import fit
        >>> fit([1.0, 2.0, 3.0], n_clusters=2)
        Traceback (most recent call last):
            ...
        kmeans_module.errors.InvalidPoints: points have shape (3,); give two dimensions, [rows,...
    """


class NonFinitePoint(InvalidPoints):
    """A row holds NaN or infinity.

    Example:
        >>> from tfkmeans import fit
        >>> fit([[1.0], [float("nan")]], n_clusters=1)
        Traceback (most recent call last):
            ...
        kmeans_module.errors.NonFinitePoint: points hold NaN in row 1, column 0; leave such rows...
    """


class ZeroPoint(InvalidPoints):
    """A row of zeros has no direction, which cosine distance needs.

    Example:
        >>> from tfkmeans import fit
        >>> fit([[1.0, 2.0], [0.0, 0.0]], n_clusters=1, distance="cosine")
        Traceback (most recent call last):
            ...
        kmeans_module.errors.ZeroPoint: points hold zeros alone in row 1, which has no direction...
    """


class InvalidColumns(KMeansError):
    """Columns are missing, are named twice, or hold what their kind does not.

    Example:
        >>> from tfkmeans import fit_columns
        >>> fit_columns({"plan": ["basic", "pro"]}, n_clusters=2)
        Traceback (most recent call last):
            ...
        kmeans_module.errors.InvalidColumns: column 'plan' has the text 'basic' in row 0, which...
    """


class InvalidWeights(KMeansError):
    """Weights are negative, not finite, all zero, or of another length than the points.

    Example:
        >>> from tfkmeans import fit
        >>> fit([[0.0], [1.0]], n_clusters=2, sample_weight=[1.0, -1.0])
        Traceback (most recent call last):
            ...
        kmeans_module.errors.InvalidWeights: sample_weight of row 1 is -1.0; weights are finite...
    """


class UnreadableRows(KMeansError):
    """The rows of a source are not there, or cannot be kept to be read again.

    Example:
        >>> from tfkmeans import RowSource
        >>> RowSource.from_file("missing.f32", n_features=2)
        Traceback (most recent call last):
            ...
        kmeans_module.errors.UnreadableRows: missing.f32: cannot be read: No such file or directory
    """


class InvalidCentroids(KMeansError):
    """Given centroids are of another shape than asked for, or not finite.

    Example:
        >>> from tfkmeans import fit
        >>> fit([[0.0], [1.0]], n_clusters=2, init=[[0.0]])
        Traceback (most recent call last):
            ...
        kmeans_module.errors.InvalidCentroids: init has shape (1, 1); give numbers of shape (2,...
    """


class InvalidParameter(KMeansError):
    """A parameter is out of its range.

    Example:
        >>> from tfkmeans import fit
        >>> fit([[0.0], [1.0]], n_clusters=0)
        Traceback (most recent call last):
            ...
        kmeans_module.errors.InvalidParameter: n_clusters is 0; give a whole number of at least 1
    """


class NoSuchDevice(KMeansError):
    """TensorFlow sees no device of that name.

    Attributes:
        there: the names of the devices that it sees, with commas between them.

    Example:
        >>> from tfkmeans import fit
        >>> fit([[0.0], [1.0]], n_clusters=2, device="/GPU:9")
        Traceback (most recent call last):
            ...
        kmeans_module.errors.NoSuchDevice: ...
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
        fault: that in one clause, which says no mend.
        bytes_of_block: how many bytes it has left, and how many the smallest block needs; None
            where blocks fit, and there was no room for them in the end.

    Example:
        >>> from tfkmeans import DeviceMemoryExhausted, fit
        >>> points = [[0.0], [1.0], [9.0]]
        >>> try:
        ...     result = fit(points, n_clusters=2, device="auto")
        ... except DeviceMemoryExhausted:
        ...     result = fit(points, n_clusters=2, device="cpu")
    """

    def __init__(
        self, device: str, held: str, bytes_of_block: tuple[int, int] | None = None
    ) -> None:
        if bytes_of_block is None:
            fault = f"device {device} has no memory left for {held}"
            mend = "give device_memory, bytes, less than it has free, so that the rows come to it "
            mend += "in blocks"
        else:
            free, needed = bytes_of_block
            fault = f"device {device} has {free:,} bytes left, and {held} needs {needed:,}"
            mend = "end what else takes memory there"
        super().__init__(f"{fault}; {mend}, or give device='cpu'")
        self.device, self.held, self.fault = device, held, fault
        self.bytes_of_block = bytes_of_block


class NotFitted(KMeansError, AttributeError):
    """An estimator is asked for what only a fit can say.

    Example:
        >>> from tfkmeans import KMeans
        >>> KMeans(2).predict([[0.0]])
        Traceback (most recent call last):
            ...
        kmeans_module...NotFitted: this KMeans has no result_ yet; call fit(X) first
    """


class InvalidAssignments(KMeansError):
    """A clustering is not one whole number a row.

    Example:
        >>> from tfkmeans import silhouette
        >>> silhouette([[0.0], [1.0], [9.0]], [0, 0, -1])
        Traceback (most recent call last):
            ...
        kmeans_module.errors.InvalidAssignments: assignments have -1 in row 2; the numbers of...
    """


class UndefinedMeasure(KMeansError):
    """A measure is not defined: there is one cluster, or each row is a cluster of its own.

    Example:
        >>> from tfkmeans import silhouette
        >>> silhouette([[0.0], [1.0]], [0, 0])
        Traceback (most recent call last):
            ...
        kmeans_module.errors.UndefinedMeasure: the silhouette needs two clusters; all 2 rows are...
    """


class CheckpointMismatch(KMeansError):
    """A checkpoint is that of another fit: of other rows, or with other parameters.

    Example:
        >>> from tfkmeans import fit
        >>> def stop(progress):
        ...     raise KeyboardInterrupt
        >>> points = [[0.0], [1.0], [8.0], [9.0]]
        >>> try:
        ...     fit(points, n_clusters=2, checkpoint="begun", on_iteration=stop)
        ... except KeyboardInterrupt:
        ...     pass
        >>> fit(points, n_clusters=3, checkpoint="begun")
        Traceback (most recent call last):
            ...
        kmeans_module.errors.CheckpointMismatch: begun/fit.npz: is the checkpoint of another...
    """


class UnusableCheckpoint(KMeansError):
    """A checkpoint cannot be read or written.

    Example:
        >>> from pathlib import Path
        >>> from tfkmeans import fit
        >>> Path("file").touch()
        >>> fit([[0.0], [1.0]], n_clusters=2, checkpoint="file")
        Traceback (most recent call last):
            ...
        kmeans_module.errors.UnusableCheckpoint: file: the checkpoint cannot be used: File...
    """


class InvalidCluster(KMeansError):
    """``TF_CONFIG`` names no workers, or this process cannot be the one that it names.

    Example:
        >>> import os
        >>> from tfkmeans import connect_workers
        >>> os.environ["TF_CONFIG"] = "{}"
        >>> with connect_workers() as reducer:
        ...     pass
        Traceback (most recent call last):
            ...
        kmeans_module.errors.InvalidCluster: TF_CONFIG lacks 'cluster' or 'task'; give...
    """


class WorkerAbsent(KMeansError):
    """A worker did not come.

    Example:
        >>> from tfkmeans import RowSource, WorkerAbsent, connect_workers, fit
        >>> source = RowSource.from_array([[0.0], [1.0], [9.0]])
        >>> try:
        ...     with connect_workers() as reducer:
        ...         result = fit(source, n_clusters=2, reducer=reducer)
        ... except WorkerAbsent as error:
        ...     print(error)  # names who did not come
    """


class WorkersDiffer(KMeansError):
    """Workers of one fit were given different parameters, or are of different releases.

    Example:
        >>> from tfkmeans import RowSource, WorkersDiffer, connect_workers, fit
        >>> source = RowSource.from_array([[0.0], [1.0], [9.0]])
        >>> try:
        ...     with connect_workers() as reducer:
        ...         result = fit(source, n_clusters=2, reducer=reducer)
        ... except WorkersDiffer as error:
        ...     print(error)  # names who differs, and in what
    """


class WorkerFailed(KMeansError):
    """Another worker has ended by an error, which its line tells.

    Example:
        >>> from tfkmeans import RowSource, WorkerFailed, connect_workers, fit
        >>> source = RowSource.from_array([[0.0], [1.0], [9.0]])
        >>> try:
        ...     with connect_workers() as reducer:
        ...         result = fit(source, n_clusters=2, reducer=reducer)
        ... except WorkerFailed as error:
        ...     print(error)  # names who failed, and by what
    """


class TooFewDistinctPoints(KMeansError):
    """There are more clusters than distinct rows.

    Attributes:
        distinct: the number of distinct rows of positive weight.
        of_sample: whether they are those of the sample that a fit begins at.

    Example:
        >>> from tfkmeans import TooFewDistinctPoints, fit
        >>> try:
        ...     fit([[0.0], [0.0], [1.0]], n_clusters=3)
        ... except TooFewDistinctPoints as error:
        ...     print(error.distinct)
        2
    """

    def __init__(self, message: str, distinct: int, *, of_sample: bool = False) -> None:
        super().__init__(message)
        self.distinct, self.of_sample = distinct, of_sample


class WorkerLost(RuntimeError):
    """Another worker was killed, is frozen, or cannot be reached: all are to be started again.

    Example:
        >>> from tfkmeans import RowSource, WorkerLost, connect_workers, fit
        >>> source = RowSource.from_array([[0.0], [1.0], [9.0]])
        >>> try:
        ...     with connect_workers() as reducer:
        ...         result = fit(source, n_clusters=2, reducer=reducer)
        ... except WorkerLost as error:
        ...     raise SystemExit(143) from error  # start all workers again
    """


class ForkedProcess(RuntimeError):
    """TensorFlow would wait for threads that a forked process does not have.

    Example:
        >>> from concurrent.futures import ProcessPoolExecutor
        >>> from multiprocessing import get_context
        >>> from tfkmeans import fit
        >>> pool = ProcessPoolExecutor(mp_context=get_context("spawn"))  # and not "fork"
        >>> pool.shutdown()
    """
