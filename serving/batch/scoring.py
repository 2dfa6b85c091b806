"""Score parts of a file: reading, scoring and writing run concurrently."""

import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kmeans_module.contract import ASSIGN, BAD_ROW, SIGNATURES

from ..tables.model_rows import ModelRows
from ..tables.table import Chunk, Table, concat_chunks
from .assignments import batch_rows
from .column_gaps import Gaps, count_gaps
from .errors import BadRow
from .job import Job, OnBadRow, PartRange, part_name
from .output_folder import OutputFolder, PartRecord
from .part_file import Write, part_file
from .part_schema import REJECTED, output_batch, output_schema
from .prefetch import map_in_order
from .scorer import LocalScorer, Scorer, Undecided
from .tally import Tally

#: Batches that are read, and scored, while a part is finished. Where the answer to a row is two
#: numbers, more of them take no more memory than the points of those that are not scored.
_AHEAD: Final = 12
_AHEAD_IF_SMALL: Final = 24

#: Batches of these that are not scored.
_UNSCORED_AHEAD: Final = 4

#: Bytes of answers and kept columns that wait for what the served graph says of some of their rows.
_WAITING_BYTES: Final = 4 * 2**20


@dataclass(frozen=True)
class _Batch:
    """Rows of one part of a file.

    Attributes:
        part: the number of the part in the file.
        rows_before: the rows of the file before them.
        chunk: the rows.
        is_last: whether the file has no rows after them.
        answers: the answers of the model by name; empty before scoring.
        is_scored: for each row, whether the model gave it a cluster and nothing is wrong with it;
            likewise.
        gaps: the values of scored rows that the model has no value for, by column; likewise.
        undecided: rows of the answers that are not final.
    """

    part: int
    rows_before: int
    chunk: Chunk
    is_last: bool
    answers: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    is_scored: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    gaps: Gaps = field(default_factory=dict)
    undecided: Undecided | None = None

    def count_bytes(self) -> int:
        """The bytes of the answers and the kept columns."""
        kept = 0 if self.chunk.kept is None else self.chunk.kept.nbytes
        return kept + sum(values.nbytes for values in self.answers.values())

    def split(self, size: int) -> "Iterator[_Batch]":
        """The scored rows of a batch, ``size`` at a time, without the counted part."""
        for start in range(0, max(1, len(self.is_scored)), size):
            rows = slice(start, start + size)
            yield replace(
                self,
                rows_before=self.rows_before + start,
                chunk=self.chunk.slice(start, start + size),
                answers={name: values[rows] for name, values in self.answers.items()},
                is_scored=self.is_scored[rows],
            )


def score_parts(
    job: Job,
    table: Table,
    parts: PartRange,
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

    given = ModelRows(table.by_columns(), job.takes, job.keep)

    def score(batch: _Batch) -> _Batch:
        inputs = given.inputs(batch.chunk)
        undecided: Undecided | None = None
        answers: dict[str, NDArray[Any]] = {}
        for name in job.signatures:
            if name == ASSIGN and isinstance(scorer, LocalScorer):
                answer, undecided = scorer.begin_assign(inputs)
            else:
                answer = getattr(scorer, name)(inputs)
            answers |= {each.name: getattr(answer, each.name) for each in SIGNATURES[name].outputs}
        is_scored = answers["cluster_index"] != BAD_ROW
        is_scored[list(batch.chunk.faults)] = False
        gaps = count_gaps(given.columns, inputs, is_scored)
        chunk = _without_points(batch.chunk) if is_scored.all() else batch.chunk
        return replace(
            batch,
            chunk=chunk,
            answers=answers,
            is_scored=is_scored,
            gaps=gaps,
            undecided=undecided,
        )

    source = job.inputs[parts.input_number].name
    began = time.monotonic()
    at_once = getattr(scorer, "batches", 1)
    rows = _read_batches(job, given, parts, limit, at_once)
    ahead, unscored = (
        max(1, batches // at_once)
        for batches in (
            _AHEAD_IF_SMALL if job.signatures == (ASSIGN,) else _AHEAD,
            _UNSCORED_AHEAD,
        )
    )
    scoring = map_in_order(score, rows, at_a_time, ahead, unscored)
    with closing(rows), closing(scoring) as scored:
        for part, batches in groupby(scored, key=lambda batch: batch.part):
            name = part_name(parts.input_number, part)
            final = _decide_all(scorer, batches)
            tally, is_last = _write_part(job, given, source, name, final, folder, on_rows)
            scorer.confirm()
            seconds = time.monotonic() - began
            yield folder.add_record(name, tally, is_last=is_last, seconds=seconds)
            began = time.monotonic()


def _decide_all(scorer: Scorer, batches: Iterable[_Batch]) -> Iterator[_Batch]:
    """The batches of a part with final answers; one call of the served graph answers several."""
    if not isinstance(scorer, LocalScorer):
        yield from batches
        return
    waiting: list[_Batch] = []
    waiting_bytes = 0
    for batch in batches:
        waiting.append(batch)
        waiting_bytes += batch.count_bytes()
        if waiting_bytes >= _WAITING_BYTES:
            yield from _decide(scorer, waiting)
            waiting, waiting_bytes = [], 0
    yield from _decide(scorer, waiting)


def _decide(scorer: LocalScorer, batches: Sequence[_Batch]) -> Sequence[_Batch]:
    """The same batches, whose answers are final now."""
    if undecided := [batch.undecided for batch in batches if batch.undecided is not None]:
        scorer.finish_assign(undecided)
    return batches


def _without_points(chunk: Chunk) -> Chunk:
    """The chunk with only its kept columns; its points use no memory."""
    return replace(chunk, points=np.broadcast_to(np.float32(0), chunk.points.shape))


def _read_batches(
    job: Job, given: ModelRows, parts: PartRange, limit: int | None, at_once: int
) -> Generator[_Batch]:
    """The rows of a range of parts in batches, at least one; none goes over the end of a part.

    Each is of so many rows as are scored ``at_once``, or fewer where a part ends.
    """
    sizes = _batch_sizes(job, parts, at_once * batch_rows(given.count_features()), limit)
    chunks = _rechunk(given.chunks(parts.rows_before), sizes)
    row = parts.rows_before
    chunk: Chunk | None = next(chunks, None) or given.no_rows()
    while chunk is not None:
        following = next(chunks, None)
        part = parts.first + (row - parts.rows_before) // job.part_rows
        yield _Batch(part, row, chunk, following is None and parts.stop is None)
        row += len(chunk.points)
        chunk = following


def _batch_sizes(job: Job, parts: PartRange, most: int, limit: int | None) -> Iterator[int]:
    """The rows of each batch: ``most``, or fewer at the end of a part or of the input."""
    row, stop = parts.rows_before, math.inf if limit is None else limit
    if parts.stop is not None:
        stop = min(stop, row + (parts.stop - parts.first) * job.part_rows)
    while row < stop:
        left_of_part = job.part_rows - (row - parts.rows_before) % job.part_rows
        size = int(min(most, left_of_part, stop - row))
        yield size
        row += size


def _rechunk(chunks: Iterator[Chunk], sizes: Iterable[int]) -> Iterator[Chunk]:
    """The same rows in chunks of these sizes; the last chunk may be smaller."""
    waiting: deque[Chunk] = deque()
    ready = 0
    for size in sizes:
        while ready < size and (chunk := next(chunks, None)) is not None:
            waiting.append(chunk)
            ready += len(chunk.points)
        if not ready:
            return
        rows = min(size, ready)
        ready -= rows
        taken = []
        while rows:
            chunk = waiting.popleft()
            taken.append(chunk.slice(0, rows))
            if len(chunk.points) > rows:
                waiting.appendleft(chunk.slice(rows, len(chunk.points)))
            rows -= len(taken[-1].points)
        yield concat_chunks(taken)


def _write_part(
    job: Job,
    given: ModelRows,
    source: str,
    name: str,
    batches: Iterable[_Batch],
    folder: OutputFolder,
    on_rows: Callable[[int], None] | None,
) -> tuple[Tally, bool]:
    """Write the files of part ``name`` of the input that the user calls ``source``.

    Gives what was counted, and whether the part is the last of its input.
    """
    schema, size = output_schema(job), batch_rows(given.count_features())
    tally, is_last = Tally.empty(job.n_clusters), False
    with ExitStack() as stack:
        rejecting = stack.enter_context(ExitStack())
        write = stack.enter_context(part_file(folder.rows_file("scored", name), job.format, schema))
        reject: Write | None = None
        for batch in batches:
            # What is written does not depend on how many rows are scored at once.
            for few in batch.split(size):
                if not few.is_scored.all():
                    if reject is None:
                        path = folder.rows_file("rejected", name)
                        reject = rejecting.enter_context(part_file(path, job.format, REJECTED))
                    reject(_reject_rows(job, given, source, few, np.flatnonzero(~few.is_scored)))
                write(output_batch(schema, given.kept(few.chunk), few.answers, few.is_scored))
            cluster_index, distance = (
                batch.answers[name] for name in ("cluster_index", "distance")
            )
            tally.count(cluster_index, distance, batch.is_scored, batch.gaps)
            is_last = batch.is_last
            if on_rows is not None:
                on_rows(len(batch.is_scored))
    return tally, is_last


def _reject_rows(
    job: Job, given: ModelRows, source: str, batch: _Batch, rows: NDArray[np.intp]
) -> pa.RecordBatch:
    """Return the entries of rejected rows. Raises BadRow if the job must stop."""
    chunk = batch.chunk
    faults = [given.find_fault(chunk, row) for row in rows.tolist()]
    numbers = rows + batch.rows_before + 1
    if job.on_bad_row is OnBadRow.FAIL:
        raise BadRow(
            f"{given.table.describe(int(numbers[0]), faults[0])}; correct it and start a new job "
            "(--overwrite), or resume with --on-bad-row reject"
        )
    said: list[Any] = [
        [source] * len(rows),
        numbers,
        [fault.column or None for fault in faults],
        [fault.reason for fault in faults],
    ]
    return pa.record_batch(said, schema=REJECTED)
