"""Sources of rows that need not fit in memory: they are read repeatedly, in blocks."""

import mmap
import os
import tempfile
import weakref
from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NoReturn, final

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .array_types import Array, Float32, Table
from .blocks import rows_per_block
from .errors import InvalidPoints, InvalidWeights, UnreadableRows
from .quiet_tensorflow import tf
from .validation import check_numbers, check_points, check_whole

#: If two chosen rows are less than this many bytes apart, the rows between them are read too.
_GAP_BYTES: Final = 2**16


class RowSource(ABC):
    """Rows [n, d] of real numbers, in raw units, and their weights; read by row number.

    ``fit`` accepts a source instead of an array, and reads it several times in blocks. The
    constructors cover an array, a raw file and a ``tf.data.Dataset``; a subclass can read rows from
    other places.

    A subclass sets ``shape`` and ``dtype``, and implements `read`; if rows have weights, it sets
    ``is_weighted`` and implements `read_weights`. Each read must give the same numbers, and several
    threads read at the same time.

    Attributes:
        shape: n and d.
        dtype: the dtype of the rows. float32 is used unchanged; float64 and integers are centred in
            float64 before they are rounded.
        is_weighted: whether rows may have weights other than 1.

    Example:
        >>> import numpy as np
        >>> from tfkmeans import RowSource, fit
        >>> rows = np.repeat(np.eye(3, dtype=np.float32), 100, axis=0)
        >>> rows.tofile("rows.f32")
        >>> source = RowSource.from_file("rows.f32", n_features=3)
        >>> source.shape
        (300, 3)
        >>> fit(source, n_clusters=3).inertia
        0.0
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    is_weighted: bool = False

    @abstractmethod
    def read(self, start: int, stop: int) -> Array:
        """Read the rows from ``start`` up to, but not including, ``stop``.

        Args:
            start: the number of the first row.
            stop: the number after the last row.

        Returns:
            Numbers [stop - start, d]; the caller must not change them.

        Raises:
            UnreadableRows: the rows cannot be read.

        Example:
            >>> from tfkmeans import RowSource
            >>> RowSource.from_array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]).read(1, 3)
            array([[3., 4.],
                   [5., 6.]])
        """

    def read_weights(self, start: int, stop: int) -> Array:
        """Read the weights of these rows.

        Args:
            start: the number of the first row.
            stop: the number after the last row.

        Returns:
            Finite numbers [stop - start], not negative.

        Raises:
            UnreadableRows: the rows cannot be read.

        Example:
            >>> from tfkmeans import RowSource
            >>> RowSource.from_array([[1.0], [3.0]], sample_weight=[0.5, 2]).read_weights(0, 2)
            array([0.5, 2. ])
        """
        return np.broadcast_to(np.float32(1), stop - start)

    @staticmethod
    def from_array(points: ArrayLike, sample_weight: ArrayLike | None = None) -> "RowSource":
        """Make a source of an array, or of an ``np.memmap``, whose file is then read in blocks.

        Args:
            points: real numbers [n, d].
            sample_weight: one number per row [n], an array or an ``np.memmap``.

        Returns:
            The source.

        Raises:
            InvalidPoints: the points are not a table of numbers.
            InvalidWeights: the weights are not one number per row.

        Example:
            >>> from tfkmeans import RowSource
            >>> RowSource.from_array([[1.0, 2.0], [3.0, 4.0]]).shape
            (2, 2)
        """
        table = check_points(points)
        weight = None if sample_weight is None else _weight_table(sample_weight, len(table))
        return TableRows(_as_file(points) or table, table.dtype, weight)

    @staticmethod
    def from_file(
        path: str | Path,
        n_features: int,
        *,
        dtype: DTypeLike = np.float32,
        offset: int = 0,
        n_rows: int | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> "RowSource":
        """Make a source of a raw file: numbers in row-major order without separators.

        Args:
            path: the path of the file. The source keeps the file open; if the file
                changes meanwhile, reads raise `UnreadableRows`.
            n_features: the number of features, d.
            dtype: the dtype of the numbers.
            offset: the bytes before the first number.
            n_rows: the number of rows, n; by default up to the end of the file.
            sample_weight: one number per row [n], an array or an ``np.memmap``.

        Returns:
            The source.

        Raises:
            UnreadableRows: the file cannot be opened, or ends within a row.
            InvalidPoints: the numbers are not real, or there are no rows.
            InvalidParameter: n_features, offset or n_rows is invalid.
            InvalidWeights: the weights are not one number per row.

        Example:
            >>> import numpy as np
            >>> from tfkmeans import RowSource
            >>> np.arange(6, dtype=np.float32).tofile("six.f32")
            >>> RowSource.from_file("six.f32", n_features=3).shape
            (2, 3)
        """
        rows = _open_file(Path(path), n_features, np.dtype(dtype), offset, n_rows)
        weight = None if sample_weight is None else _weight_table(sample_weight, len(rows))
        return TableRows(rows, rows.dtype, weight)

    @staticmethod
    def from_dataset(dataset: Any, *, folder: str | Path | None = None) -> "RowSource":
        """Make a source of a ``tf.data.Dataset``, which is read once into an unnamed file.

        The file has n d numbers, and is deleted with the source, or when the process ends in any
        way.

        Args:
            dataset: a finite data set of rows [d] or batches [b, d] of real numbers, or of pairs of
                these and their weights.
            folder: the folder of the file; by default that of Python's ``tempfile``.

        Returns:
            The source.

        Raises:
            InvalidPoints: it has other elements, or none.
            UnreadableRows: the file cannot be written.

        Example:
            >>> import tensorflow as tf
            >>> from tfkmeans import RowSource
            >>> dataset = tf.data.Dataset.from_tensor_slices([[1.0, 2.0], [3.0, 4.0]])
            >>> RowSource.from_dataset(dataset).shape
            (2, 2)
        """
        return _spool(dataset, folder)

    @staticmethod
    def without_rows(n_features: int, *, dtype: DTypeLike = np.float32) -> "RowSource":
        """Make a source without rows, for a worker that has none (`connect_workers`).

        Args:
            n_features: the number of features, d.
            dtype: the dtype of the rows of the other workers.

        Returns:
            The source, with 0 rows.

        Raises:
            InvalidParameter: n_features is not an integer of at least 1.

        Example:
            >>> from tfkmeans import RowSource
            >>> RowSource.without_rows(3).shape
            (0, 3)
        """
        d, kind = check_whole("n_features", n_features, 1), np.dtype(dtype)
        return TableRows(np.empty((0, d), kind), kind, None)

    @final
    def __len__(self) -> int:
        return self.shape[0]

    @final
    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise InvalidPoints(
            "points are a RowSource, whose rows need not fit memory; fit takes it, and this takes "
            "an array"
        )

    @final
    def __getitem__(self, rows: slice, /) -> Array:
        """Read a slice without a step, and check the shape."""
        start, stop, _ = rows.indices(len(self))
        block, shape = self.read(start, stop), (max(stop - start, 0), self.shape[1])
        if not isinstance(block, np.ndarray) or block.dtype.kind not in "buif":
            kind = block.dtype if isinstance(block, np.ndarray) else type(block).__name__
            raise InvalidPoints(
                f"the source gave rows {start} to {stop} as {kind}; read must give a NumPy array "
                "of numbers"
            )
        if block.shape != shape:
            raise UnreadableRows(
                f"the source gave rows {start} to {stop} in the shape {block.shape}; they must "
                f"have the shape {shape}"
            )
        return block

    def read_into(self, start: int, rows: Float32) -> None:
        """Read rows of a source of float32 into an array.

        Args:
            start: the number of the first row.
            rows: float32 [m, d], the array to fill.

        Raises:
            UnreadableRows: the rows cannot be read.

        Example:
            >>> import numpy as np
            >>> from tfkmeans import RowSource
            >>> rows = np.empty((1, 2), np.float32)
            >>> RowSource.from_array(np.eye(2, dtype=np.float32)).read_into(1, rows)
            >>> rows
            array([[0., 1.]], dtype=float32)
        """
        rows[:] = self[start : start + len(rows)]

    @final
    @property
    def weights(self) -> Table:
        """The weights, float32 [n], readable by slices."""
        return _Weights(self)

    @final
    def take(self, numbers: Array) -> Array:
        """Read the rows with these numbers.

        Args:
            numbers: int64 [m], strictly increasing.

        Returns:
            The rows [m, d].

        Raises:
            UnreadableRows: a row cannot be read.

        Example:
            >>> import numpy as np
            >>> from tfkmeans import RowSource
            >>> RowSource.from_array([[1.0], [2.0], [3.0]]).take(np.array([0, 2]))
            array([[1.],
                   [3.]])
        """
        found = np.empty((len(numbers), self.shape[1]), self.dtype)
        gap = rows_per_block(self.shape[1] * self.dtype.itemsize, _GAP_BYTES)
        most = rows_per_block(self.shape[1])
        first = 0
        ends = np.append(np.flatnonzero(np.diff(numbers) > gap) + 1, len(numbers))
        for end in ends:
            while first < end:
                start = int(numbers[first])
                last = first + int(np.searchsorted(numbers[first:end], start + most))
                block = self[start : int(numbers[last - 1]) + 1]
                found[first:last] = block[numbers[first:last] - start]
                first = last
        return found


class _Weights(Table):
    def __init__(self, source: RowSource) -> None:
        self._source = source

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self._source),)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, rows: slice, /) -> Float32:
        start, stop, _ = rows.indices(len(self))
        weights = self._source.read_weights(start, stop)
        if weights.shape != (max(stop - start, 0),):
            raise InvalidWeights(
                f"the source gave the weights of rows {start} to {stop} in the shape "
                f"{weights.shape}; give one weight per row"
            )
        with np.errstate(over="ignore"):
            return weights.astype(np.float32, copy=False)


class TableRows(RowSource):
    """A source of rows and weights in tables."""

    def __init__(self, points: Table, dtype: np.dtype[Any], weight: Table | None) -> None:
        self.shape = len(points), points.shape[1]
        self.dtype = dtype
        self.is_weighted = weight is not None
        self._points, self._weight = points, weight

    def read(self, start: int, stop: int) -> Array:
        return self._points[start:stop]

    def read_into(self, start: int, rows: Float32) -> None:
        if isinstance(self._points, RawFile):
            self._points.read_into(start, rows)
        else:
            super().read_into(start, rows)

    def read_weights(self, start: int, stop: int) -> Array:
        if self._weight is None:
            return super().read_weights(start, stop)
        return self._weight[start:stop]


class RawFile(Table):
    """Numbers of a file, read by ``pread``, so no page of it is mapped.

    Args:
        descriptor: the file descriptor; it is closed with the table.
        name: the name of the file in errors.
        shape, dtype: the shape and dtype of the numbers.
        offset: the bytes before the first number.
        is_whole: whether the file is complete, so that a change of it is an error.
    """

    def __init__(
        self,
        descriptor: int,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        offset: int = 0,
        *,
        is_whole: bool = True,
    ) -> None:
        weakref.finalize(self, os.close, descriptor)
        self._opened = _size_and_time(descriptor) if is_whole else None
        self._descriptor, self._name, self._offset = descriptor, name, offset
        self._shape, self.dtype = shape, dtype
        self._row_bytes = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    def __len__(self) -> int:
        return self._shape[0]

    def __getitem__(self, rows: slice, /) -> Array:
        start, stop, _ = rows.indices(len(self))
        block = np.empty((max(stop - start, 0), *self._shape[1:]), self.dtype)
        self.read_into(start, block)
        return block

    def read_into(self, start: int, block: Array) -> None:
        """Read as many rows as the block has; the block is contiguous."""
        rest = block.reshape(-1).view(np.uint8).data
        place = self._offset + start * self._row_bytes
        try:
            while rest:
                read = os.preadv(self._descriptor, [rest], place)
                if read == 0:
                    row = (place - self._offset) // self._row_bytes
                    raise UnreadableRows(
                        f"{self._name}: ends in row {row} of {len(self)}; it was truncated "
                        "since it was opened"
                    )
                rest, place = rest[read:], place + read
            now = _size_and_time(self._descriptor)
        except OSError as error:
            raise UnreadableRows(f"{self._name}: cannot be read: {error.strerror}") from error
        # Checked after the read, so that no row was read after a change.
        if self._opened not in (None, now):
            raise UnreadableRows(
                f"{self._name}: has changed since it was opened; open it when no program writes "
                "there"
            )


def _size_and_time(descriptor: int) -> tuple[int, int]:
    """The properties that show a change of an open file."""
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns


def check_described(source: RowSource) -> RowSource:
    """Check that a source sets its shape and its dtype. Raises InvalidPoints."""
    name, shape = type(source).__name__, getattr(source, "shape", None)
    if not (isinstance(shape, tuple) and len(shape) == 2):
        raise InvalidPoints(f"shape of {name} is {shape}; set it to (rows, features)")
    if not isinstance(dtype := getattr(source, "dtype", None), np.dtype):
        raise InvalidPoints(f"dtype of {name} is {dtype!r}; set it as np.dtype('float32')")
    return source


def _weight_table(sample_weight: ArrayLike, n: int) -> Table:
    wanted = f"one weight per row, shape ({n},); 0 leaves a row out"
    array = check_numbers("sample_weight", sample_weight, (n,), wanted, InvalidWeights)
    return _as_file(sample_weight) or array


def _as_file(array: Any) -> RawFile | None:
    """The file of a whole ``np.memmap``: if memory is short, reading is faster than mapping."""
    is_whole = isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap)
    if not (is_whole and array.flags.c_contiguous and array.mode != "c" and array.filename):
        return None
    # A file that was deleted or replaced is still mapped.
    try:
        descriptor = os.open(array.filename, os.O_RDONLY)
    except OSError:
        return None
    return RawFile(descriptor, str(array.filename), array.shape, array.dtype, array.offset)


def _open_file(
    path: Path, n_features: int, dtype: np.dtype[Any], offset: int, n_rows: int | None
) -> RawFile:
    if dtype.kind not in "buif":
        raise InvalidPoints(f"dtype is {dtype}, which is not numeric; give that of real numbers")
    check_whole("n_features", n_features, 1)
    check_whole("offset", offset, 0)
    if n_rows is not None:
        check_whole("n_rows", n_rows, 1)
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise UnreadableRows(f"{path}: cannot be read: {error.strerror}") from error
    row_bytes = n_features * dtype.itemsize
    size = os.fstat(descriptor).st_size - offset
    rows = size // row_bytes if n_rows is None else n_rows
    table = RawFile(descriptor, str(path), (rows, n_features), dtype, offset)
    if size < rows * row_bytes or (n_rows is None and size > rows * row_bytes):
        wanted = "whole rows" if n_rows is None else f"{n_rows} rows"
        raise UnreadableRows(
            f"{path}: has {max(size, 0)} bytes from byte {offset} on, which are not {wanted} of "
            f"{row_bytes} bytes, {n_features} numbers of {dtype}: give the features, the dtype and "
            "the offset that it was written with"
        )
    if rows < 1:
        raise InvalidPoints(f"{path}: has no rows from byte {offset} on; give at least one row")
    return table


def _spool(dataset: Any, folder: str | Path | None) -> RowSource:
    if not isinstance(dataset, tf.data.Dataset):
        raise InvalidPoints(f"dataset has type {type(dataset).__name__}; give a tf.data.Dataset")
    spec = dataset.element_spec
    is_weighted = isinstance(spec, tuple) and len(spec) == 2
    specs = spec if is_weighted else (spec,)
    if not all(isinstance(each, tf.TensorSpec) for each in specs):
        raise InvalidPoints(
            f"the elements of the data set are {spec}; give rows [features], batches "
            "[rows, features], or pairs of these and their weights"
        )
    if int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY:
        raise InvalidPoints("the data set repeats without end; give dataset.take(batches)")
    if specs[0].shape.rank == 1:
        dataset = dataset.batch(rows_per_block(specs[0].shape[0] or 1024))
    place = str(folder or tempfile.gettempdir())
    rows = 0
    batch: tuple[Array, ...] = ()
    with ExitStack() as stack:
        try:
            files = [stack.enter_context(tempfile.TemporaryFile(dir=folder)) for _ in specs]
            for element in dataset.as_numpy_iterator():
                before, batch = batch, element if is_weighted else (element,)
                batch = tuple(map(np.asarray, batch))  # a single text is bytes
                _check_batch(batch, before or batch, rows)
                rows += len(batch[0])
                for file, each in zip(files, batch, strict=True):
                    file.write(np.ascontiguousarray(each).data)
            for file in files:
                file.flush()
        except OSError as error:
            raise UnreadableRows(
                f"{place}: cannot hold the rows of the data set, of which {rows} came: "
                f"{error.strerror}; give folder= a place with room for them"
            ) from error
        if not rows:
            raise InvalidPoints("the data set has no rows; give at least one row")
        points, *weight = (
            RawFile(os.dup(file.fileno()), place, (rows, *each.shape[1:]), each.dtype)
            for file, each in zip(files, batch, strict=True)
        )
    return TableRows(points, points.dtype, weight[0] if weight else None)


def _check_batch(batch: tuple[Array, ...], before: tuple[Array, ...], rows: int) -> None:
    """Check a batch, also against the previous batch. Raises InvalidPoints."""
    points, *weights = batch
    is_table = all(each.dtype.kind in "buif" for each in batch) and points.ndim == 2
    has_weights = all(each.shape == (len(points),) for each in weights)
    if not (is_table and points.shape[1] and has_weights):
        shapes = " and ".join(f"{each.dtype} {each.shape}" for each in batch)
        raise InvalidPoints(
            f"the data set gives {shapes} after {rows} rows; give real numbers, rows [features] "
            "or batches [rows, features], with one weight per row where there are weights"
        )
    if points.shape[1] != before[0].shape[1]:
        raise InvalidPoints(
            f"the data set gives rows of {points.shape[1]} numbers after {rows} rows of "
            f"{before[0].shape[1]}; give each row as many"
        )
