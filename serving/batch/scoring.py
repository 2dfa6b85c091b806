"""Score parts of a file: read, ask, write, each while the others go on with the next rows."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kmeans_module.contract import BAD_ROW

from ..tables.columns import to_float32
from ..tables.messages import describe_not_finite
from ..tables.table import Chunk, Fault, Table, concat_chunks
from .assignments import batch_rows
from .errors import BadRow
from .job import Job, JobInput, OnBadRow, Stretch, part_name
from .output_folder import OutputFolder, PartRecord
from .part_file import Write, part_file
from .part_schema import REJECTED, answered, scored_batch, scored_schema
from .prefetch import ahead, mapped_in_order
from .scorer import Scorer
from .tally import Tally

#: Batches that are read ahead.
_AHEAD: Final = 4


@dataclass(frozen=True)
class _Piece:
    """A batch of rows: of which part, how many rows of the file are before it, is it the last?"""

    part: int
    row: int
    chunk: Chunk
    is_last: bool


@dataclass(frozen=True)
class _Answered:
    piece: _Piece
    answers: dict[str, NDArray[Any]]


def score_stretch(
    job: Job,
    table: Table,
    stretch: Stretch,
    scorer: Scorer,
    folder: OutputFolder,
    *,
    limit: int | None = None,
    at_a_time: int = 1,
    on_rows: Callable[[int], None] | None = None,
) -> Iterator[PartRecord]:
    """Score parts of an input into the output folder, and give the record of each as it is done.

    Args:
        limit: rows of the input that are read at most; None is all.
        at_a_time: batches that the scorer is asked at once.
        on_rows: called with the number of rows of each batch that was written.

    Raises:
        BadRow: a row cannot be scored, and the job is to stop there.
        UnreadableFile: the file is damaged. Finished parts stay.
        OutputNotWritten: the disk does not take a part. Finished parts stay.
        NoAnswer, OtherModel: the server is gone, or another model answers. Finished parts stay.
    """
    rows = ahead(_pieces(job, table, stretch, limit), _AHEAD)

    def ask(piece: _Piece) -> _Answered:
        points = to_float32(piece.chunk.points)
        return _Answered(piece, answered(scorer, job.signatures, points))

    began = time.monotonic()
    with closing(rows), closing(mapped_in_order(ask, rows, at_a_time)) as answers:
        for part, batches in groupby(answers, key=lambda each: each.piece.part):
            name = part_name(stretch.number, part)
            tally, is_last = _write_part(job, table, name, stretch.number, batches, folder, on_rows)
            scorer.confirm()
            seconds = time.monotonic() - began
            yield folder.finish(name, tally, is_last=is_last, seconds=seconds)
            began = time.monotonic()


def _pieces(job: Job, table: Table, stretch: Stretch, limit: int | None) -> Generator[_Piece]:
    """The rows of a stretch in batches, at least one; none goes over the end of a part."""
    stop = limit
    if stretch.stop is not None:
        end = stretch.row + (stretch.stop - stretch.first) * job.part_rows
        stop = end if stop is None else min(stop, end)
    source = job.inputs[stretch.number]
    batches: Iterator[Chunk] = _batches(job, table, source, stretch, stop)
    part, row = stretch.first, stretch.row
    following: Chunk | None = next(batches, None) or _no_rows(table, source, job.keep)
    while following is not None:
        chunk, following = following, next(batches, None)
        yield _Piece(part, row, chunk, following is None and stretch.stop is None)
        row += len(chunk.points)
        part = stretch.first + (row - stretch.row) // job.part_rows


def _batches(
    job: Job, table: Table, source: JobInput, stretch: Stretch, stop: int | None
) -> Iterator[Chunk]:
    """Batches of the size that the model is asked for, a smaller one where a part ends."""
    most = batch_rows(len(source.columns))
    waiting: deque[Chunk] = deque()
    row, ready = stretch.row, 0
    chunks = table.chunks(source.columns, job.keep, stretch.row)

    def size() -> int:
        left = job.part_rows - (row - stretch.row) % job.part_rows
        return min(most, left) if stop is None else min(most, left, stop - row)

    for chunk in chunks:
        waiting.append(chunk)
        ready += len(chunk.points)
        while (rows := size()) and ready >= rows:
            yield _taken(waiting, rows)
            row += rows
            ready -= rows
        if not rows:
            return
    if ready:
        yield _taken(waiting, ready)


def _taken(waiting: deque[Chunk], rows: int) -> Chunk:
    """The next so many rows of chunks that lie waiting."""
    taken = []
    while rows:
        chunk = waiting.popleft()
        taken.append(chunk.slice(0, rows))
        if len(chunk.points) > rows:
            waiting.appendleft(chunk.slice(rows, len(chunk.points)))
        rows -= len(taken[-1].points)
    return concat_chunks(taken)


def _no_rows(table: Table, source: JobInput, keep: Sequence[str]) -> Chunk:
    schema = pa.schema(list(table.kept_types(keep).items()))
    kept = pa.RecordBatch.from_pylist([], schema=schema) if keep else None
    return Chunk(np.empty((0, len(source.columns)), np.float32), kept)


def _write_part(
    job: Job,
    table: Table,
    name: str,
    number: int,
    batches: Iterable[_Answered],
    folder: OutputFolder,
    on_rows: Callable[[int], None] | None,
) -> tuple[Tally, bool]:
    """Write the files of a part; what is counted of it, and whether it is the last of its input."""
    schema = scored_schema(job, table.kept_types(job.keep))
    tally, is_last = Tally.empty(job.n_clusters), False
    with ExitStack() as stack:
        rejecting = stack.enter_context(ExitStack())
        write = stack.enter_context(part_file(folder.scored(name), job.format, schema))
        reject: Write | None = None
        for each in batches:
            good = _good(each)
            if good is not None:
                if reject is None:
                    rejected = part_file(folder.rejected(name), job.format, REJECTED)
                    reject = rejecting.enter_context(rejected)
                reject(_rejected(job, table, job.inputs[number], each, good))
            batch = scored_batch(schema, each.piece.chunk.kept, each.answers, good)
            write(batch)
            scored = slice(None) if good is None else good
            tally.count(
                each.answers["cluster_index"][scored],
                each.answers["distance"][scored],
                0 if good is None else int(np.count_nonzero(~good)),
            )
            is_last = each.piece.is_last
            if on_rows is not None:
                on_rows(len(each.piece.chunk.points))
    return tally, is_last


def _good(each: _Answered) -> NDArray[np.bool_] | None:
    """Which rows were scored; None when all were."""
    good = each.answers["cluster_index"] != BAD_ROW
    good[list(each.piece.chunk.faults)] = False
    return None if good.all() else good


def _rejected(
    job: Job, table: Table, source: JobInput, each: _Answered, good: NDArray[np.bool_]
) -> pa.RecordBatch:
    """What is said of the rows that were not scored. Raises BadRow when the job is to stop."""
    chunk, before = each.piece.chunk, each.piece.row
    rows = np.flatnonzero(~good).tolist()
    found = [chunk.faults.get(row) or _fault(job, chunk.points[row]) for row in rows]
    if job.on_bad_row is OnBadRow.FAIL:
        fault = table.describe(before + rows[0] + 1, found[0])
        raise BadRow(
            f"{fault}; mend it, which makes it another job (--overwrite), or go on with "
            "--on-bad-row reject"
        )
    return pa.record_batch(
        [
            [source.name] * len(rows),
            [before + row + 1 for row in rows],
            [fault.column or None for fault in found],
            [fault.reason for fault in found],
        ],
        schema=REJECTED,
    )


def _fault(job: Job, values: NDArray[np.floating[Any]]) -> Fault:
    """Why a row of numbers was not scored."""
    bad = np.flatnonzero(~np.isfinite(to_float32(values)))
    if not len(bad):
        if not values.any():
            return Fault("", "is a row of zeros, which has no direction for cosine distance")
        return Fault(
            "",
            "is too far from every centroid: its squared distance is more than float32 can hold",
        )
    return Fault(job.features[bad[0]], describe_not_finite(values[bad[0]]))
