"""Errors of this package about the input of the caller."""


class KMeansError(ValueError):
    """Base of every error about the input of the caller.

    Example:
        >>> from tfkmeans import KMeansError, fit
        >>> try:
        ...     fit([[0.0], [1.0]], n_clusters=3)
        ... except KMeansError as error:
        ...     print(type(error).__name__)
        TooFewDistinctPoints
    """


class NoArray(KMeansError):
    """An argument is not an array of numbers."""


class InvalidPoints(KMeansError):
    """Points are not a table of numbers with at least one row and one column.

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
    """A row of zeros has no direction, so its cosine distance is undefined.

    Example:
        >>> from tfkmeans import fit
        >>> fit([[1.0, 2.0], [0.0, 0.0]], n_clusters=1, distance="cosine")
        Traceback (most recent call last):
            ...
        kmeans_module.errors.ZeroPoint: points hold zeros alone in row 1, which has no direction...
    """


class InvalidColumns(KMeansError):
    """Columns are missing, have equal names, or have values of the wrong kind.

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
    """The rows of a source cannot be read, or cannot be stored for the next pass.

    Example:
        >>> from tfkmeans import RowSource
        >>> RowSource.from_file("missing.f32", n_features=2)
        Traceback (most recent call last):
            ...
        kmeans_module.errors.UnreadableRows: missing.f32: cannot be read: No such file or directory
    """


class InvalidCentroids(KMeansError):
    """Given centroids have the wrong shape, or are not finite.

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
    """TensorFlow has no device of that name.

    Attributes:
        there: the names of the available devices, separated by commas.

    Example:
        >>> from tfkmeans import fit
        >>> fit([[0.0], [1.0]], n_clusters=2, device="/GPU:9")
        Traceback (most recent call last):
            ...
        kmeans_module.errors.NoSuchDevice: ...
    """

    def __init__(self, device: str, there: str) -> None:
        super().__init__(f"device is {device!r}, which TensorFlow does not see; available: {there}")
        self.there = there


class DeviceMemoryExhausted(KMeansError):
    """A device does not have enough memory for the rows.

    Attributes:
        device: the name of the device.
        held: the data that did not fit.
        fault: the cause in one clause, without the remedy.
        bytes_of_block: the free bytes of the device, and the bytes of the smallest block; None
            if the block should have fitted, but the allocation failed.

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
            mend = "give device_memory (bytes) below its free memory, so that the rows are sent "
            mend += "in blocks"
        else:
            free, needed = bytes_of_block
            fault = f"device {device} has {free:,} bytes left, and {held} needs {needed:,}"
            mend = "end other programs that use its memory"
        super().__init__(f"{fault}; {mend}, or give device='cpu'")
        self.device, self.held, self.fault = device, held, fault
        self.bytes_of_block = bytes_of_block


class NotFitted(KMeansError, AttributeError):
    """An estimator was used before its fit.

    Example:
        >>> from tfkmeans import KMeans
        >>> KMeans(2).predict([[0.0]])
        Traceback (most recent call last):
            ...
        kmeans_module...NotFitted: this KMeans has no result_ yet; call fit(X) first
    """


class InvalidAssignments(KMeansError):
    """Assignments are not one integer per row.

    Example:
        >>> from tfkmeans import silhouette
        >>> silhouette([[0.0], [1.0], [9.0]], [0, 0, -1])
        Traceback (most recent call last):
            ...
        kmeans_module.errors.InvalidAssignments: assignments have -1 in row 2; the numbers of...
    """


class UndefinedMeasure(KMeansError):
    """A measure is undefined: there is only one cluster, or each row is its own cluster.

    Example:
        >>> from tfkmeans import silhouette
        >>> silhouette([[0.0], [1.0]], [0, 0])
        Traceback (most recent call last):
            ...
        kmeans_module.errors.UndefinedMeasure: the silhouette needs two clusters; all 2 rows are...
    """


class CheckpointMismatch(KMeansError):
    """A checkpoint belongs to another fit, with other rows or parameters.

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
    """``TF_CONFIG`` is invalid, or does not fit this process.

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
    """A worker did not connect in time.

    Example:
        >>> from tfkmeans import RowSource, WorkerAbsent, connect_workers, fit
        >>> source = RowSource.from_array([[0.0], [1.0], [9.0]])
        >>> try:
        ...     with connect_workers() as reducer:
        ...         result = fit(source, n_clusters=2, reducer=reducer)
        ... except WorkerAbsent as error:
        ...     print(error)  # names the absent workers
    """


class WorkersDiffer(KMeansError):
    """Workers of one fit have different parameters or releases.

    Example:
        >>> from tfkmeans import RowSource, WorkersDiffer, connect_workers, fit
        >>> source = RowSource.from_array([[0.0], [1.0], [9.0]])
        >>> try:
        ...     with connect_workers() as reducer:
        ...         result = fit(source, n_clusters=2, reducer=reducer)
        ... except WorkersDiffer as error:
        ...     print(error)  # names the worker and the difference
    """


class WorkerFailed(KMeansError):
    """Another worker ended with an error; the message contains it.

    Example:
        >>> from tfkmeans import RowSource, WorkerFailed, connect_workers, fit
        >>> source = RowSource.from_array([[0.0], [1.0], [9.0]])
        >>> try:
        ...     with connect_workers() as reducer:
        ...         result = fit(source, n_clusters=2, reducer=reducer)
        ... except WorkerFailed as error:
        ...     print(error)  # names the worker and the error
    """


class TooFewDistinctPoints(KMeansError):
    """There are more clusters than distinct rows.

    Attributes:
        distinct: the number of distinct rows of positive weight.
        of_sample: whether the rows are those of the sample that gives the initial centroids.

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
    """Another worker was killed, is frozen, or is unreachable; restart all workers.

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
    """This process was forked after TensorFlow started threads, which it does not have.

    Example:
        >>> from concurrent.futures import ProcessPoolExecutor
        >>> from multiprocessing import get_context
        >>> from tfkmeans import fit
        >>> pool = ProcessPoolExecutor(mp_context=get_context("spawn"))  # and not "fork"
        >>> pool.shutdown()
    """
