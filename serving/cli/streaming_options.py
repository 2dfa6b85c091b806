"""Options that decide whether rows are held in memory or streamed from a cache."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

import typer

from serving.tables.messages import format_bytes, format_count
from serving.tables.reading_options import ReadingOptions

from .arguments import parse_memory
from .input_tables import InputTables, count_rows
from .memory import BASE_BYTES, memory_left, rows_in_memory
from .tensorflow_import import load_tensorflow
from .terminal import ProgressCallback, note, progress

if TYPE_CHECKING:
    from kmeans_module import Reducer
    from serving.tables.encoded_rows import Encoding
    from serving.tables.row_cache import CacheRequest, RowCache
    from serving.tables.streamed_rows import StreamedRows
    from serving.tables.table import Table

#: For the help of the options that are about more rows than memory.
STREAM_PANEL: Final = "Data larger than memory"

#: The features that a category has at least, for an estimate: the first rows may be few.
_LEAST_FEATURES: Final = 10

#: For an estimate of a file whose rows nothing counts: how many times as long as its gzip it is,
#: and the bytes of a number.
_GZIP_SHARE: Final = 3
_BYTES_OF_NUMBER: Final = 8

#: Of the memory that is left: what may be used, and what rows may take in any case.
_SHARE_LEFT: Final = 0.75
_SHARE_OF_ROWS: Final = 0.1


@dataclass(frozen=True)
class StreamingOptions:
    """The memory limit, and the cache for rows that exceed it."""

    panel: ClassVar[str] = STREAM_PANEL

    memory: Annotated[
        int | None,
        typer.Option(
            parser=parse_memory,
            metavar="SIZE",
            help="Memory limit, such as 2GB, including 700MB for TensorFlow; by default three "
            "quarters of the free memory. Rows that do not fit are streamed from a cache on "
            "the disk.",
        ),
    ] = None
    out_of_core: Annotated[
        bool,
        typer.Option(
            "--out-of-core",
            help="Stream the rows from a cache even if they fit.",
        ),
    ] = False
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep the cache in DIR for the next command with the same columns of these "
            "files; by default it is removed when the command ends.",
        ),
    ] = None

    def find_reason(
        self,
        given: InputTables,
        columns: Sequence[str],
        categories: Sequence[str],
        *,
        is_cosine: bool,
    ) -> str | None:
        """The reason to stream the rows of these columns; None if they fit in memory.

        Reads the first rows of the first file.
        """
        if self.out_of_core:
            return "--out-of-core is given"
        from serving.tables.columns import column_widths

        count = sum(_estimate_rows(given, table) for table in given.tables)
        is_counted = all(table.rows is not None for table in given.tables)
        numbers = [name for name in columns if name not in categories]
        widths = column_widths(given.tables, numbers)
        first = next(given.tables[0].with_widths(widths).blocks(numbers), None) if numbers else None
        needed = rows_in_memory(
            count,
            sum(widths.values()) + _estimate_features(given.tables[0], categories),
            is_wide=first is not None and first.dtype.itemsize > 4,
            is_cosine=is_cosine,
        )
        needed += BASE_BYTES
        may_use = _usable_memory() if self.memory is None else self.memory
        if needed <= may_use:
            if self.cache is not None:
                note(
                    f"--cache {self.cache}: the rows fit in memory, and no cache is used; add "
                    "--out-of-core to use it"
                )
            return None
        return (
            f"{'' if is_counted else 'about '}{format_count(count, 'row')} and TensorFlow need "
            f"about {format_bytes(needed)} of memory, and the limit is {format_bytes(may_use)} "
            "(--memory)"
        )

    def read(
        self,
        given: InputTables,
        columns: Sequence[str],
        encoding: "Encoding | None",
        reading: ReadingOptions,
        *,
        weight_column: str | None,
        skip_zero_rows: bool,
        reducer: "Reducer | None" = None,
    ) -> "StreamedRows":
        """The rows of these columns, from a cache; a worker has a cache of its share."""
        with progress("reading") as tell:
            tell("loading TensorFlow")
            load_tensorflow("train")
            from kmeans_module.workers import ALONE
            from serving.tables.row_cache import CacheRequest
            from serving.tables.streamed_rows import stream_rows

            reducer = reducer or ALONE
            categories = () if encoding is None else encoding.categories
            paths = _paths(given, given.tables)
            asked = columns, weight_column, reading, categories
            request = CacheRequest(given.tables, paths, *asked)
            if reducer.workers > 1:
                cache = self._read_share(given, request, reducer, tell)
            else:
                cache = self._open(request, tell)
            tell("finding complete rows")
            return stream_rows(
                cache, columns, encoding, skip_zero_rows=skip_zero_rows, reducer=reducer
            )

    def _read_share(
        self,
        given: InputTables,
        request: "CacheRequest",
        reducer: "Reducer",
        tell: ProgressCallback,
    ) -> "RowCache":
        """Read the share of one worker, and the facts about the rows of all workers."""
        from serving.tables.shared_cache import share_cache
        from serving.tables.table_part import cut_tables, split_tables

        widths, tables = request.lay_out()
        tell("finding the rows of each worker")
        tables = cut_tables(tables, partial(_estimate_rows, given), reducer)
        sizes = [_estimate_rows(given, table) for table in tables]
        shares = split_tables(tables, sizes, reducer.workers)
        idle = sum(not share for share in shares)
        if idle and reducer.worker == 0:
            note(
                f"warning: {idle} of {reducer.workers} workers read no rows: a Parquet file is "
                "split at its row groups, .npy anywhere, an uncompressed CSV file every 256 KiB, "
                "and any other file is read by one worker; give more files, or Parquet with more "
                "row groups"
            )
        own = shares[reducer.worker]
        cache = None
        if own:

            def on_rows(_: int) -> None:
                # A reading may take long, and ends soon when a worker is lost.
                reducer.check()

            share = replace(request, tables=own, paths=_paths(given, own), widths=widths)
            cache = self._open(share, tell, on_rows)
        tell("waiting for the other workers")
        return share_cache(cache, widths, request.categories, reducer)

    def _open(
        self,
        request: "CacheRequest",
        tell: ProgressCallback,
        on_block: Callable[[int], None] = lambda _: None,
    ) -> "RowCache":
        from serving.tables.row_cache import open_cache

        count = count_rows(tell)

        def on_rows(rows: int) -> None:
            on_block(rows)
            count(rows)

        folder, is_kept = self.cache or default_cache(), self.cache is not None
        return open_cache(request, folder, is_kept=is_kept, tell=note, on_rows=on_rows)


def agree_on_files(given: InputTables, columns: Sequence[str], reducer: "Reducer") -> None:
    """Check that all workers see the same files and columns. Raises WorkersDiffer."""
    from serving.tables.row_cache import fingerprint

    known = [fingerprint(Path(table.name)) for table in given.tables]
    seen = {
        f"file {number}": f"{name} ({size:,} bytes, hash {ends[:8]})"
        for number, (name, size, _, ends) in enumerate(known, 1)
    }
    reducer.agree(seen | {"columns": ", ".join(columns)})


def _paths(given: InputTables, tables: "Sequence[Table]") -> list[Path]:
    return [given.copies.get(each.name, Path(each.name)) for each in tables]


def _usable_memory() -> int:
    """The default memory limit: small inputs always fit."""
    left = memory_left()
    return int(max(_SHARE_LEFT * left, BASE_BYTES + _SHARE_OF_ROWS * left))


def _estimate_features(table: "Table", categories: Sequence[str]) -> int:
    """The features of these categories, by their values in the first rows.

    Only all rows give the exact number. Raises ColumnMismatch.
    """
    if not categories:
        return 0
    from kmeans_module.columns import CategoryColumn
    from serving.tables.raw_rows import CategoryCells, RawRows

    rows = RawRows(table, [CategoryColumn(name, ()) for name in categories])
    first = next(rows.chunks(), rows.no_rows())
    cells = [each for each in rows.values(first) if isinstance(each, CategoryCells)]
    return sum(max(_LEAST_FEATURES, len(each.values)) for each in cells)


def _estimate_rows(given: InputTables, table: "Table") -> int:
    """The exact or estimated number of rows of a table."""
    if table.estimated_rows is not None:
        return table.estimated_rows
    path = given.copies.get(table.name, Path(table.name))
    size = path.stat().st_size * (_GZIP_SHARE if path.suffix == ".gz" else 1)
    return size // (_BYTES_OF_NUMBER * max(1, len(table.columns)))


def default_cache() -> Path:
    """The folder of temporary caches: on the disk, unlike some folders of temporary files."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "tfkmeans" / "rows"
