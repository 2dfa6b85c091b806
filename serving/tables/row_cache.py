"""The cache of a stream: the rows of tables in one raw file that can be read repeatedly.

Files of any kind are read once. The cache has the requested columns, float32, in row-major order; a
missing number is NaN. After the rows it has their weights, a uniform sample, and statistics. A
cache is either complete or absent: it is written to a temporary file, and renamed.

It has all rows, because the options of a fit decide which rows are incomplete. A category is a
column with the indices of its values in the header.
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

from export.durable_files import lock_file, sync_folder
from export.feature_names import shorten_names
from kmeans_module.columns import CategoryColumn
from kmeans_module.row_sample import draw_sample
from kmeans_module.row_source import RowSource, TableRows

from .columns import expand_columns, to_float32
from .encoded_rows import recode
from .errors import ChangedInput, DamagedCache, NoRows, UnreadableFile, UnusableCache
from .float32_rounding import Float32Rounding
from .messages import format_bytes
from .raw_rows import RawRows, read_category
from .reading_options import ReadingOptions
from .running_moments import RunningMoments
from .section_file import SectionWriter, read_sections
from .table import Block, Chunk, Table
from .table_part import TablePart
from .training_rows import check_finite, check_weights, lay_out_columns

_FLOAT32: Final = np.dtype("<f4")

#: The number of bytes at each end of a file that identify it.
_END_BYTES: Final = 2**16

#: The most rows and the most numbers of the sample.
_SAMPLE_ROWS: Final = 2**16
_SAMPLE_NUMBERS: Final = 2**20

#: Weights per read.
_WEIGHTS: Final = 2**20

#: The identity of a file: its name, size, time, and a hash of its ends.
Fingerprint = list[Any]


@dataclass(frozen=True)
class CacheRequest:
    """A request for a cache of rows.

    Attributes:
        tables: the tables, in the order of their rows.
        paths: the paths of their files.
        columns: the columns of numbers, vectors and categories.
        weight_column: the column of the weights; None if all weights are 1.
        reading: the reading options of text files.
        categories: the category columns among ``columns``.
        widths: the widths of columns of numbers or vectors, if the tables are the share of one
            worker and all tables determine the widths; the share may have no rows.
    """

    tables: Sequence[Table]
    paths: Sequence[Path]
    columns: Sequence[str]
    weight_column: str | None = None
    reading: ReadingOptions = ReadingOptions()
    categories: Sequence[str] = ()
    widths: Mapping[str, int] | None = None

    @property
    def numbers(self) -> tuple[str, ...]:
        """The columns that are not categories."""
        return tuple(name for name in self.columns if name not in self.categories)

    @property
    def weight_columns(self) -> tuple[str, ...]:
        """The weight column, if there is one."""
        return () if self.weight_column is None else (self.weight_column,)

    @property
    def key(self) -> str:
        """The key in the name of the cache file: of files, columns and reading options."""
        names = [str(path.absolute()) for path in self.paths]
        columns = [*self.numbers], [*self.categories], self.weight_column
        asked: list[Any] = [names, *columns, self.reading.flags()]
        if self.widths is not None:
            parts = [each for each in self.tables if isinstance(each, TablePart)]
            asked += [dict(self.widths), [(each.name, each.start, each.stop) for each in parts]]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]

    def size(self) -> int | None:
        """Estimate the bytes of the cache with its sample; None if unknown.

        Weights are stored twice while the cache is written.
        """
        rows = [table.estimated_rows for table in self.tables]
        if None in rows:
            return None
        widths, _ = self.lay_out()
        n, d = sum(filter(None, rows)), sum(widths.values()) + len(self.categories)
        sampled = min(n, sample_rows(d))
        numbers = n * (d + 2 * len(self.weight_columns)) + sampled * (d + 1)
        return numbers * _FLOAT32.itemsize

    def lay_out(self) -> tuple[dict[str, int], Sequence[Table]]:
        """Call ``lay_out_columns``. Raises ColumnMismatch."""
        if self.widths is not None:
            return dict(self.widths), self.tables
        return lay_out_columns(self.tables, self.numbers) if self.numbers else ({}, self.tables)

    def fingerprints(self) -> list[Fingerprint]:
        """Return the current fingerprints of the files. Raises UnreadableFile."""
        return [fingerprint(path) for path in self.paths]


@dataclass(frozen=True)
class CacheHeader:
    """The statistics of the rows of a cache.

    Attributes:
        inputs: the fingerprints of the files.
        widths: the widths of the columns of numbers and vectors.
        categories: the values of each category, by index. The columns of categories follow those
            of ``widths``.
        weight_column: the column of the weights.
        rows: the number of rows.
        missing: the number of rows without a value, for each column of numbers or vectors and for
            the weight, if there are some.
        rounding: the statistics of rounding to float32, ``Float32Rounding.numbers``.
        counts: the number of values of each number of ``widths``.
        low, high, mean, variance: the statistics of these values.
    """

    inputs: list[Fingerprint]
    widths: dict[str, int]
    categories: dict[str, list[str]]
    weight_column: str | None
    rows: int
    missing: dict[str, int]
    rounding: list[list[float]]
    counts: list[int]
    low: list[float]
    high: list[float]
    mean: list[float]
    variance: list[float]

    @property
    def rounded(self) -> tuple[str, ...]:
        """The numbers that lost digits by rounding to float32."""
        has_lost = Float32Rounding.of(self.rounding).has_lost_digits()
        return tuple(np.array(expand_columns(self.widths), object)[has_lost])


@dataclass(frozen=True, eq=False)
class RowCache:
    """An open cache; its file may be replaced or removed meanwhile.

    Attributes:
        header: the statistics of the rows.
        source: the rows [n, d], with NaN for a missing number, and their weights.
        sample: float32 [m, d], a uniform sample of the rows of positive weight.
        sample_weights: float32 [m].
    """

    header: CacheHeader
    source: RowSource
    sample: NDArray[np.float32]
    sample_weights: NDArray[np.float32]

    @classmethod
    def read(cls, file: IO[bytes], name: str, *, check: bool) -> Self:
        """Open a cache; with ``check``, read and verify all of it. Raises DamagedCache, OSError."""
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
    """Open the cache of these rows in the folder, or write a new one.

    Args:
        request: the rows.
        folder: the folder of caches; created if absent.
        is_kept: whether the cache is kept for later; else its file has no name, and is deleted
            when the process ends in any way. Processes may share the folder: one writes a cache,
            and others wait for it.
        tell: called with messages about the place of the cache, and its size before it is written.
        on_rows: called with the number of rows of each block.

    Raises:
        UnusableCache: there is not enough space, or the folder is not writable.
        ChangedInput: a file was changed while it was read.
        TableError: the errors of ``read_training_rows``.
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
            f"{folder}: cannot hold a cache of the rows: {error.strerror or error}; give another "
            "folder with --cache"
        ) from error


def _reuse(request: CacheRequest, path: Path, tell: Callable[[str], None]) -> RowCache | None:
    """Open an existing cache if it is complete and fits the current files. Raises OSError."""
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
    """Report the size of the cache. Raises UnusableCache if there is not enough space."""
    free, needed = shutil.disk_usage(folder).free, request.size()
    if needed is not None and needed > free:
        raise UnusableCache(
            f"{folder}: a cache of the rows takes about {format_bytes(needed)}, and "
            f"{format_bytes(free)} are free; give a folder with more space with --cache"
        )
    size = "" if needed is None else f"about {format_bytes(needed)}, "
    tell(f"writing a cache of the rows, {size}to {place}, where {format_bytes(free)} are free")


def _replace(request: CacheRequest, path: Path, on_rows: Callable[[int], None]) -> RowCache:
    """Write a cache to a temporary file, and rename it. Raises OSError, TableError."""
    # With the lock held, an existing file is left from a killed process.
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
    """Write a complete cache to an empty file. Raises OSError, TableError."""
    inputs = request.fingerprints()
    writer, reader = SectionWriter(file), _Reader(request)
    d = len(reader.features) + len(request.categories)
    with tempfile.TemporaryFile(dir=folder) as spooled:
        rows = writer.write("rows", reader.blocks(on_rows, spooled), (d,), _FLOAT32)
        weights = None
        if request.weight_column is not None:
            weights = writer.write("weights", _spooled(spooled), (), _FLOAT32)
    if request.fingerprints() != inputs:
        raise ChangedInput(
            f"{shorten_names([str(path) for path in request.paths])}: changed while the rows were "
            "read; run the command again when the files no longer change"
        )
    header = reader.header(inputs)
    source = TableRows(rows, _FLOAT32, weights)
    numbers, sampled = draw_sample(source.weights, sample_rows(d), 0)
    writer.write("sample", [source.take(numbers)], (d,), _FLOAT32)
    writer.write("sample_weights", [sampled], (), _FLOAT32)
    writer.finish(asdict(header))


def sample_rows(d: int) -> int:
    """Return the most rows of d numbers in the sample."""
    return max(1, min(_SAMPLE_ROWS, _SAMPLE_NUMBERS // d))


def _spooled(file: IO[bytes]) -> Iterator[NDArray[np.float32]]:
    file.seek(0)
    while data := file.read(_WEIGHTS * _FLOAT32.itemsize):
        yield np.frombuffer(data, _FLOAT32)


class _Reader:
    """The rows of tables for a cache, and the statistics of the rows that were read."""

    def __init__(self, request: CacheRequest) -> None:
        self._request = request
        self._widths, self._tables = request.lay_out()
        self.features = expand_columns(self._widths)
        self._codes: dict[str, dict[str, int]] = {name: {} for name in request.categories}
        if self._codes:
            categories = [CategoryColumn(name, ()) for name in request.categories]
            # It checks that they can be categories.
            self._tables = [RawRows(table, categories).table for table in self._tables]
        self._starts = np.cumsum([0, *self._widths.values()])[:-1]
        self._missing = np.zeros(len(self._widths) + 1, np.int64)
        self._rounding = Float32Rounding(len(self.features))
        self._moments = RunningMoments(len(self.features))
        self._rows = 0

    def blocks(
        self, on_rows: Callable[[int], None], weights: IO[bytes]
    ) -> Iterator[NDArray[np.float32]]:
        """Yield the rows, float32 [m, d], in blocks; write their weights to ``weights``.

        Raises OSError, TableError.
        """
        request, weight_column = self._request, self._request.weight_column
        numbers = [*request.numbers, *request.weight_columns]
        for table in self._tables:
            before = 0
            for chunk in table.chunks(numbers, request.categories):
                table.require_no_fault(chunk, before)
                rows = chunk.points
                if weight_column is not None:
                    rows, weight = rows[:, :-1], rows[:, -1]
                    check_weights(table, weight_column, weight, before)
                    self._missing[-1] += np.count_nonzero(np.isnan(weight))
                    weights.write(weight.astype(_FLOAT32).data)
                check_finite(table, self.features, rows, before)
                before += len(rows)
                self._rows += len(rows)
                rounded = self._round(rows)
                yield self._join(table, rounded, chunk) if self._codes else rounded
                on_rows(len(rows))

    def _round(self, block: Block) -> NDArray[np.float32]:
        """Round the numbers of a block to float32; update the statistics."""
        rounded = to_float32(block)
        has_lost = rounded is not block
        is_missing = np.isnan(rounded)
        if is_missing.any():
            absent = np.logical_or.reduceat(is_missing, self._starts, axis=1)
            self._missing[:-1] += absent.sum(axis=0)
            if has_lost:
                self._rounding.round(block[~absent.any(axis=1)])
        elif has_lost:
            self._rounding.round(block)
        if self.features:
            self._moments.add(rounded)
        return rounded

    def _join(
        self, table: Table, numbers: NDArray[np.float32], chunk: Chunk
    ) -> NDArray[np.float32]:
        """Append to numbers the categories of their rows, as indices of values.

        Raises ColumnMismatch.
        """
        assert chunk.kept is not None
        d = numbers.shape[1]
        rows = np.empty((len(numbers), d + len(self._codes)), np.float32)
        rows[:, :d] = numbers
        for place, (name, codes) in enumerate(self._codes.items(), d):
            column = CategoryColumn(name, ())  # its values are not known yet
            given = read_category(table, column, chunk.kept.column(name))
            rows[:, place] = recode(name, codes, given, self._rows)
        return rows

    def header(self, inputs: list[Fingerprint]) -> CacheHeader:
        """Return the statistics of the rows. Raises NoRows."""
        if not self._rows and self._request.widths is None:
            names = ", ".join(table.name for table in self._tables)
            raise NoRows(f"{names}: has a header and no rows; give at least one row")
        counted = dict(zip(self._widths, self._missing[:-1], strict=True))
        counted |= dict.fromkeys(self._request.weight_columns, self._missing[-1])
        moments = self._moments
        return CacheHeader(
            inputs=inputs,
            widths=self._widths,
            categories={name: list(codes) for name, codes in self._codes.items()},
            weight_column=self._request.weight_column,
            rows=self._rows,
            missing={name: int(count) for name, count in counted.items() if count},
            rounding=self._rounding.numbers.tolist(),
            counts=moments.counts.tolist(),
            low=moments.low.tolist(),
            high=moments.high.tolist(),
            mean=moments.mean.tolist(),
            variance=moments.variance.tolist(),
        )


def fingerprint(path: Path) -> Fingerprint:
    """Return the current fingerprint of a file. Raises UnreadableFile."""
    try:
        with path.open("rb") as file:
            known = os.fstat(file.fileno())
            ends = hashlib.sha256(file.read(_END_BYTES))
            file.seek(max(0, known.st_size - _END_BYTES))
            ends.update(file.read(_END_BYTES))
    except OSError as error:
        raise UnreadableFile(f"{path}: cannot be read: {error.strerror}") from error
    return [str(path), known.st_size, known.st_mtime_ns, ends.hexdigest()]
