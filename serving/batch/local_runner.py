"""Run a job from this process: with the model loaded here, or a server that answers."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..tables.table import Table
from .job import Job
from .output_folder import OutputFolder, PartRecord, missing
from .scorer import Scorer
from .scoring import score_stretch
from .summary import summarize


def score_files(
    job: Job,
    tables: Sequence[Table],
    scorer: Scorer,
    *,
    overwrite: bool = False,
    at_a_time: int | None = None,
    on_begun: Callable[[Sequence[PartRecord]], None] | None = None,
    on_rows: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Do a job, or what is left of it, and give its summary, which is ``summary.json`` too.

    Args:
        job: see ``plan_job``.
        tables: the inputs of the job.
        scorer: the model, here or on a server.
        overwrite: whether to remove another job from the output folder.
        at_a_time: batches that the scorer is asked at once; None is one for each core.
        on_begun: called once nobody else can write there, with the parts that are done already.
        on_rows: called with the number of rows of each batch that was written.

    Raises:
        BadRow: a row cannot be scored, and the job is to stop there.
        UnreadableFile: a file is damaged.
        OutputNotWritten: the folder is in use, holds something else, or the disk does not take it.
    """
    began = time.monotonic()
    with OutputFolder(job).opened(overwrite=overwrite) as folder:
        if on_begun is not None:
            on_begun(folder.records())
        parts = run_in_process(job, tables, scorer, folder, at_a_time=at_a_time, on_rows=on_rows)
        return summarize(job, folder, parts, time.monotonic() - began)


def run_in_process(
    job: Job,
    tables: Sequence[Table],
    scorer: Scorer,
    folder: OutputFolder,
    *,
    at_a_time: int | None = None,
    on_rows: Callable[[int], None] | None = None,
) -> int:
    """Score what is still missing in an output folder that is held; gives the number of parts.

    Args:
        tables: the inputs of the job.
        at_a_time: batches that the scorer is asked at once; None is one for each core.
        on_rows: called with the number of rows of each batch that was written.

    Raises what ``score_stretch`` raises.
    """
    at_a_time = at_a_time or os.cpu_count() or 1
    parts, left = 0, job.limit
    for number, table in enumerate(tables):
        if left == 0:
            break
        for stretch in missing(job, number, table, folder, left):
            for _ in score_stretch(
                job,
                table,
                stretch,
                scorer,
                folder,
                limit=left,
                at_a_time=at_a_time,
                on_rows=on_rows,
            ):
                parts += 1
        if left is not None:
            left -= folder.rows_of(number)
    return parts
