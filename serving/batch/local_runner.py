"""Run a job from this process: with the model loaded here, or a server that answers."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..tables.table import Table
from .job import Job
from .output_folder import OutputFolder, PartRecord, find_missing_parts
from .scorer import Scorer
from .scoring import score_parts
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
        NoAnswer, OtherModel: the server is gone, or another model answers.
    """
    began = time.monotonic()
    scored, rows_left = 0, job.limit
    with OutputFolder(job).lock(overwrite=overwrite) as folder:
        if on_begun is not None:
            on_begun(folder.records())
        for number, table in enumerate(tables):
            if rows_left == 0:
                break
            for parts in find_missing_parts(job, number, table, folder, rows_left):
                for _ in score_parts(
                    job,
                    table,
                    parts,
                    scorer,
                    folder,
                    limit=rows_left,
                    at_a_time=at_a_time or os.cpu_count() or 1,
                    on_rows=on_rows,
                ):
                    scored += 1
            if rows_left is not None:
                rows_left -= sum(record.tally.rows for record in folder.leading_records(number))
        return summarize(job, folder, scored, time.monotonic() - began)
