"""The rows of tables in one raw file, to be read again and again: the cache of a stream.

Files of any kind are read once. What the cache holds are the columns that were asked for, float32,
row by row; a missing number is NaN. Behind the rows are their weights, a uniform sample of them,
and what is known of them. A cache is whole or not there: it is written beside its place, and
renamed.

All rows are there: which of them lack something that a fit needs, its options say. A category is a
column of the numbers of its values, which the header has in that order.
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
        columns: of numbers, vectors and categories.
        weight_column: where the weights are; None where each row weighs 1.
        reading: how files of text are read.
        categories: those of the columns that are categories.
        widths: how many numbers each column of numbers or vectors has, where the tables are one
            worker's share and all tables decide that; their rows may then be none.
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
        """The columns that are no categories."""
        return tuple(name for name in self.columns if name not in self.categories)

    @property
    def weight_columns(self) -> tuple[str, ...]:
        """The weight column, if there is one."""
        return () if self.weight_column is None else (self.weight_column,)

    @property
    def key(self) -> str:
        """What a cache's file is named by: files, columns and reading options."""
        names = [str(path.absolute()) for path in self.paths]
        columns = [*self.numbers], [*self.categories], self.weight_column
        asked: list[Any] = [names, *columns, self.reading.flags()]
        if self.widths is not None:
            parts = [each for each in self.tables if isinstance(each, TablePart)]
            asked += [dict(self.widths), [(each.name, each.start, each.stop) for each in parts]]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]

    def size(self) -> int | None:
        """About how many bytes the cache needs, with its sample; None where nothing tells.

        Weights lie twice while it is written.
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
        """As ``lay_out_columns`` does. Raises ColumnMismatch."""
        if self.widths is not None:
            return dict(self.widths), self.tables
        return lay_out_columns(self.tables, self.numbers) if self.numbers else ({}, self.tables)

    def fingerprints(self) -> list[Fingerprint]:
        """Of the files as they are. Raises UnreadableFile."""
        return [fingerprint(path) for path in self.paths]


@dataclass(frozen=True)
class CacheHeader:
    """What is known of the rows of a cache.

    Attributes:
        inputs: the fingerprints of the files.
        widths: how many numbers each column of numbers or vectors has.
        categories: the values of each category, in the order of their numbers. Their columns are
            behind those of ``widths``.
        weight_column: where the weights are from.
        rows: how many there are.
        missing: in how many rows a column of numbers or vectors, or the weight, lacks a value,
            where some do.
        rounding: what rounding to float32 has done to the numbers, ``Float32Rounding.numbers``.
        counts: for each number of ``widths``, how many rows have it.
        low, high, mean, variance: of these.
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
        """The numbers that lost digits when they were rounded to float32."""
        has_lost = Float32Rounding.of(self.rounding).has_lost_digits()
        return tuple(np.array(expand_columns(self.widths), object)[has_lost])


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
            f"{folder}: cannot hold a cache of the rows: {error.strerror or error}; give another "
            "folder by --cache"
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
    d = len(reader.features) + len(request.categories)
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
    numbers, sampled = draw_sample(source.weights, sample_rows(d), 0)
    writer.write("sample", [source.take(numbers)], (d,), _FLOAT32)
    writer.write("sample_weights", [sampled], (), _FLOAT32)
    writer.finish(asdict(header))


def sample_rows(d: int) -> int:
    """How many rows of d numbers the sample has at most."""
    return max(1, min(_SAMPLE_ROWS, _SAMPLE_NUMBERS // d))


def _spooled(file: IO[bytes]) -> Iterator[NDArray[np.float32]]:
    file.seek(0)
    while data := file.read(_WEIGHTS * _FLOAT32.itemsize):
        yield np.frombuffer(data, _FLOAT32)


class _Reader:
    """The rows of tables that go into a cache, and what is known of all that were read."""

    def __init__(self, request: CacheRequest) -> None:
        self._request = request
        self._widths, self._tables = request.lay_out()
        self.features = expand_columns(self._widths)
        self._codes: dict[str, dict[str, int]] = {name: {} for name in request.categories}
        if self._codes:
            categories = [CategoryColumn(name, ()) for name in request.categories]
            # It checks that they may be categories.
            self._tables = [RawRows(table, categories).table for table in self._tables]
        self._starts = np.cumsum([0, *self._widths.values()])[:-1]
        self._missing = np.zeros(len(self._widths) + 1, np.int64)
        self._rounding = Float32Rounding(len(self.features))
        self._moments = RunningMoments(len(self.features))
        self._rows = 0

    def blocks(
        self, on_rows: Callable[[int], None], weights: IO[bytes]
    ) -> Iterator[NDArray[np.float32]]:
        """The rows, float32 [m, d], block by block; what they weigh is written to ``weights``.

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
        """The numbers of a block as float32; what is known of all grows."""
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
        """Numbers, and beside them the categories of their rows by the numbers of their values.

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
        """What is known of the rows. Raises NoRows."""
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
    """That of a file as it is. Raises UnreadableFile."""
    try:
        with path.open("rb") as file:
            known = os.fstat(file.fileno())
            ends = hashlib.sha256(file.read(_END_BYTES))
            file.seek(max(0, known.st_size - _END_BYTES))
            ends.update(file.read(_END_BYTES))
    except OSError as error:
        raise UnreadableFile(f"{path}: cannot be read: {error.strerror}") from error
    return [str(path), known.st_size, known.st_mtime_ns, ends.hexdigest()]
