"""The rows of tables in one raw file, to be read again and again: the cache of a stream.

Files of any kind are read once. What the cache holds are the columns that were asked for, float32,
row by row; a missing number is NaN. Behind the rows are their weights, a uniform sample of them,
and what is known of them. A cache is whole or not there: it is written beside its place, and
renamed.

Left out are rows that no option of a fit could make use of, for want of a weight or a vector. A
row that lacks a number is there: whether it is used, ``--impute`` says.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from export.durable_files import explain, lock_file, sync_folder
from export.feature_names import shorten_names
from kmeans_module.row_sample import draw_sample
from kmeans_module.row_source import RowSource, TableRows

from .columns import expand_columns, to_float32
from .errors import ChangedInput, DamagedCache, NoRows, UnreadableFile, UnusableCache
from .float32_rounding import Float32Rounding
from .messages import format_bytes
from .reading_options import ReadingOptions
from .running_moments import RunningMoments
from .section_file import SectionWriter, read_sections
from .table import Block, Table
from .training_rows import check_finite, check_weights, lay_out_columns

_FLOAT32: Final = np.dtype("<f4")

#: So many bytes at each end of a file tell it from others.
_END_BYTES: Final = 2**16

#: The sample has so many rows at most, and so many numbers.
_SAMPLE_ROWS: Final = 2**16
_SAMPLE_NUMBERS: Final = 2**20

#: Weights that are read at a time.
_WEIGHTS: Final = 2**20

#: What tells a file from what it was: its name, its size, its time and a hash of its ends.
Fingerprint = list[Any]


@dataclass(frozen=True)
class CacheRequest:
    """Which rows are to be cached.

    Attributes:
        tables: in the order of their rows.
        paths: of their files.
        columns: of numbers and vectors.
        weight_column: where the weights are; None where each row weighs 1.
        reading: how files of text are read.
    """

    tables: Sequence[Table]
    paths: Sequence[Path]
    columns: Sequence[str]
    weight_column: str | None = None
    reading: ReadingOptions = ReadingOptions()

    @property
    def weight_columns(self) -> tuple[str, ...]:
        """The weight column, if there is one."""
        return () if self.weight_column is None else (self.weight_column,)

    @property
    def key(self) -> str:
        """What a cache's file is named by: files, columns and reading options."""
        names = [str(path.absolute()) for path in self.paths]
        asked = [names, [*self.columns], self.weight_column, self.reading.flags()]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]

    def size(self) -> int | None:
        """About how many bytes the rows are; None where nothing tells."""
        rows = [table.estimated_rows for table in self.tables]
        if None in rows:
            return None
        widths, _ = lay_out_columns(self.tables, self.columns)
        numbers = sum(widths.values()) + len(self.weight_columns)
        return sum(filter(None, rows)) * numbers * _FLOAT32.itemsize

    def fingerprints(self) -> list[Fingerprint]:
        """Of the files as they are. Raises UnreadableFile."""
        return [_fingerprint(path) for path in self.paths]


@dataclass(frozen=True)
class CacheHeader:
    """What is known of the rows of a cache.

    Attributes:
        inputs: the fingerprints of the files.
        widths: how many features each column is.
        weight_column: where the weights are from.
        rows: how many are in the cache.
        rows_read: those, and those that lack a weight or a vector.
        missing: for each column that lacks values, in how many of ``rows_read``.
        rounded: the features that lost digits when they were rounded to float32.
        counts: of each feature, in how many rows of the cache there is a number.
        low, high, mean, variance: of these numbers.
    """

    inputs: list[Fingerprint]
    widths: dict[str, int]
    weight_column: str | None
    rows: int
    rows_read: int
    missing: dict[str, int]
    rounded: list[str]
    counts: list[int]
    low: list[float]
    high: list[float]
    mean: list[float]
    variance: list[float]

    @property
    def feature_names(self) -> tuple[str, ...]:
        return expand_columns(self.widths)

    @property
    def is_complete(self) -> bool:
        """Whether no number is missing in the rows of the cache."""
        return min(self.counts) == self.rows


@dataclass(frozen=True, eq=False)
class RowCache:
    """A cache that is open; its file may be replaced or removed meanwhile.

    Attributes:
        header: what is known of the rows.
        source: the rows [n, d], with NaN for a missing number, and their weights.
        sample: float32 [m, d], rows of positive weight, drawn uniformly.
        sample_weights: float32 [m].
    """

    header: CacheHeader
    source: RowSource
    sample: NDArray[np.float32]
    sample_weights: NDArray[np.float32]

    @classmethod
    def read(cls, file: IO[bytes], name: str, *, check: bool) -> Self:
        """Open a cache; ``check`` reads all of it. Raises DamagedCache, OSError."""
        described, sections = read_sections(file, name, check=check)
        source = TableRows(sections["rows"], _FLOAT32, sections.get("weights"))
        samples = sections["sample"][:], sections["sample_weights"][:]
        return cls(CacheHeader(**described), source, *samples)


def open_cache(
    request: CacheRequest,
    folder: Path,
    *,
    is_kept: bool,
    tell: Callable[[str], None],
    on_rows: Callable[[int], None] = lambda _: None,
) -> RowCache:
    """The cache of these rows: that which is in the folder, or a new one.

    Args:
        request: which rows.
        folder: where caches lie; it is made.
        is_kept: whether the cache is left there for the next time; else its file has no name, and
            goes with the process, however that ends. Processes may share the folder: one writes a
            cache, and others wait for it.
        tell: is told where the cache is, and what it takes before it is written.
        on_rows: is called with the number of rows of each block that was read.

    Raises:
        UnusableCache: there is too little room, or the folder cannot be written to.
        ChangedInput: a file was changed while it was read.
        TableError: and what else ``read_training_rows`` raises.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not is_kept:
            _announce(request, folder, str(folder), tell)
            with tempfile.TemporaryFile(dir=folder) as file:
                _write(request, file, folder, on_rows)
                return RowCache.read(file, f"{folder}: the cache", check=False)
        path = folder / f"{request.key}.rows"
        with lock_file(path.with_suffix(".lock"), lambda: tell(f"waiting for {path}")):
            if (found := _reuse(request, path, tell)) is not None:
                return found
            _announce(request, folder, str(path), tell)
            return _replace(request, path, on_rows)
    except OSError as error:
        raise UnusableCache(
            f"{folder}: cannot hold a cache of the rows: {explain(error)}, or give another folder "
            "by --cache"
        ) from error


def _reuse(request: CacheRequest, path: Path, tell: Callable[[str], None]) -> RowCache | None:
    """The cache that is there, where it is whole and of the files as they are. Raises OSError."""
    try:
        with path.open("rb") as file:
            found = RowCache.read(file, str(path), check=True)
    except FileNotFoundError:
        return None
    except DamagedCache as error:
        tell(f"warning: {error}; reading the files again")
        return None
    pairs = zip(found.header.inputs, request.fingerprints(), strict=True)
    if changed := [now[0] for then, now in pairs if then != now]:
        tell(f"{shorten_names(changed)} changed since {path} was written; reading the files again")
        return None
    tell(f"{found.header.rows:,} rows are in the cache {path}")
    return found


def _announce(request: CacheRequest, folder: Path, place: str, tell: Callable[[str], None]) -> None:
    """Say what room the cache takes. Raises UnusableCache where there is less."""
    free, needed = shutil.disk_usage(folder).free, request.size()
    if needed is not None and needed > free:
        raise UnusableCache(
            f"{folder}: a cache of the rows takes about {format_bytes(needed)}, and "
            f"{format_bytes(free)} are free; give a folder with more room by --cache"
        )
    size = "" if needed is None else f"about {format_bytes(needed)}, "
    tell(f"writing a cache of the rows, {size}to {place}, where {format_bytes(free)} are free")


def _replace(request: CacheRequest, path: Path, on_rows: Callable[[int], None]) -> RowCache:
    """Write a cache beside its place, and rename it. Raises OSError, TableError."""
    # Under the lock: what lies there is what a process has left that was killed.
    partial = path.with_suffix(".partial")
    try:
        with partial.open("w+b") as file:
            _write(request, file, path.parent, on_rows)
            os.fsync(file.fileno())
            partial.replace(path)
            sync_folder(path.parent)
            return RowCache.read(file, str(path), check=False)
    finally:
        partial.unlink(missing_ok=True)


def _write(
    request: CacheRequest, file: IO[bytes], folder: Path, on_rows: Callable[[int], None]
) -> None:
    """Write a whole cache to an empty file. Raises OSError, TableError."""
    inputs = request.fingerprints()
    writer, reader = SectionWriter(file), _Reader(request)
    d = len(reader.features)
    with tempfile.TemporaryFile(dir=folder) as spooled:
        rows = writer.write("rows", reader.blocks(on_rows, spooled), (d,), _FLOAT32)
        weights = None
        if request.weight_column is not None:
            weights = writer.write("weights", _spooled(spooled), (), _FLOAT32)
    if request.fingerprints() != inputs:
        raise ChangedInput(
            f"{shorten_names([str(path) for path in request.paths])}: changed while the rows were "
            "read; run the command again once nothing writes there"
        )
    header = reader.header(inputs)
    source = TableRows(rows, _FLOAT32, weights)
    most = max(1, min(_SAMPLE_ROWS, _SAMPLE_NUMBERS // d))
    numbers, sampled = draw_sample(source.weights, most, 0)
    writer.write("sample", [source.take(numbers)], (d,), _FLOAT32)
    writer.write("sample_weights", [sampled], (), _FLOAT32)
    writer.finish(asdict(header))


def _spooled(file: IO[bytes]) -> Iterator[NDArray[np.float32]]:
    file.seek(0)
    while data := file.read(_WEIGHTS * _FLOAT32.itemsize):
        yield np.frombuffer(data, _FLOAT32)


class _Reader:
    """The rows of tables that go into a cache, and what is known of all that were read."""

    def __init__(self, request: CacheRequest) -> None:
        self._request = request
        self._widths, self._tables = lay_out_columns(request.tables, request.columns)
        self.features = expand_columns(self._widths)
        self._starts = np.cumsum([0, *self._widths.values()])[:-1]
        self._is_vector = np.array([width > 1 for width in self._widths.values()])
        self._missing = np.zeros(len(self._widths) + 1, np.int64)
        self._rounding = Float32Rounding(len(self.features))
        self._moments = RunningMoments(len(self.features))
        self._rows = self._rows_read = 0
        self._has_weight = request.weight_column is None

    def blocks(
        self, on_rows: Callable[[int], None], weights: IO[bytes]
    ) -> Iterator[NDArray[np.float32]]:
        """The rows, float32 [m, d], block by block; what they weigh is written to ``weights``.

        Raises OSError, TableError.
        """
        columns, weight_column = self._request.columns, self._request.weight_column
        for table in self._tables:
            before = 0
            for block in table.blocks([*columns, *self._request.weight_columns]):
                rows, weight = block, None
                if weight_column is not None:
                    rows, weight = block[:, :-1], block[:, -1]
                    check_weights(table, weight_column, weight, before)
                check_finite(table, self.features, rows, before)
                rows, weight = self._select(rows, weight)
                if weight is not None:
                    weights.write(weight.astype(_FLOAT32).data)
                    self._has_weight |= bool(weight.any())
                yield rows
                before += len(block)
                on_rows(len(block))
            self._rows_read += before

    def _select(
        self, block: Block, weight: Block | None
    ) -> tuple[NDArray[np.float32], Block | None]:
        """The rows of a block, and their weights, without those that no option makes use of."""
        rounded = to_float32(block)
        has_lost = rounded is not block
        is_missing = np.isnan(rounded)
        if is_missing.any() or (weight is not None and np.isnan(weight).any()):
            absent = np.logical_or.reduceat(is_missing, self._starts, axis=1)
            is_useless = (absent & self._is_vector).any(axis=1)
            if weight is not None:
                absent = np.column_stack([absent, np.isnan(weight)])
                is_useless |= np.isnan(weight)
            self._missing[: absent.shape[1]] += absent.sum(axis=0)
            if has_lost:
                self._rounding.round(block[~absent.any(axis=1)])
            rounded = rounded[~is_useless]
            weight = None if weight is None else weight[~is_useless]
        elif has_lost:
            self._rounding.round(block)
        self._moments.add(rounded)
        self._rows += len(rounded)
        return rounded, weight

    def header(self, inputs: list[Fingerprint]) -> CacheHeader:
        """What is known of the rows. Raises NoRows."""
        names = ", ".join(table.name for table in self._tables)
        if not self._rows_read:
            raise NoRows(f"{names}: has a header and no rows; give at least one row")
        counted = zip([*self._widths, *self._request.weight_columns], self._missing, strict=False)
        missing = {name: int(count) for name, count in counted if count}
        require_rows(names, self._rows, self._rows_read, missing)
        if not self._has_weight:
            raise NoRows(
                f"{names}: no row that is left has a weight above 0 in the column "
                f"{self._request.weight_column!r}; give at least one"
            )
        moments = self._moments
        lossy = np.array(self.features, object)[self._rounding.has_lost_digits()]
        return CacheHeader(
            inputs=inputs,
            widths=self._widths,
            weight_column=self._request.weight_column,
            rows=self._rows,
            rows_read=self._rows_read,
            missing=missing,
            rounded=lossy.tolist(),
            counts=moments.counts.tolist(),
            low=moments.low.tolist(),
            high=moments.high.tolist(),
            mean=moments.mean.tolist(),
            variance=moments.variance.tolist(),
        )


def require_rows(names: str, rows: int, rows_read: int, missing: Mapping[str, int]) -> None:
    """Check that not all rows were left out for want of values. Raises NoRows."""
    if not rows:
        lacking = shorten_names([f"{name!r} lacks {count}" for name, count in missing.items()])
        raise NoRows(
            f"{names}: each of the {rows_read} rows has a missing value "
            f"({lacking}); choose other columns with --columns or --exclude"
        )


def _fingerprint(path: Path) -> Fingerprint:
    try:
        with path.open("rb") as file:
            known = os.fstat(file.fileno())
            ends = hashlib.sha256(file.read(_END_BYTES))
            file.seek(max(0, known.st_size - _END_BYTES))
            ends.update(file.read(_END_BYTES))
    except OSError as error:
        raise UnreadableFile(f"{path}: cannot be read: {error.strerror}") from error
    return [str(path), known.st_size, known.st_mtime_ns, ends.hexdigest()]
