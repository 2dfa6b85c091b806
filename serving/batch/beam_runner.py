"""Run a job by Apache Beam, for those whose files outgrow one machine.

Beam's RunInference loads the model once in each worker process and shares it. What it hands to the
model are not rows but parts of the job: a worker reads a part, scores it and writes it as this
process would, so that neither rows nor answers travel between workers, and a part that a runner
tries twice is written once. Inputs, model and output must lie where every worker finds them.
"""

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import ModelHandler, PredictionResult, RunInference
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import DirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from ..tables.input_files import open_table
from ..tables.table import Table
from .errors import RefusedOption
from .job import Job, PartRange
from .output_folder import OutputFolder, PartRecord, find_missing_parts
from .scorer import LocalScorer
from .scoring import score_parts
from .summary import summarize


class PartModelHandler(ModelHandler[PartRange, PredictionResult, LocalScorer]):  # type: ignore[misc]
    """Scores parts of a job; what it gives for a range of parts is how many it has done."""

    def __init__(self, job: Job, version_directory: Path, rows: int | None = None) -> None:
        """``rows`` is how many there are in all, or so."""
        super().__init__()
        self._rows = rows
        # A worker has another working directory than who starts the pipeline.
        self._job = replace(
            job,
            output=job.output.absolute(),
            inputs=tuple(replace(each, path=each.path.absolute()) for each in job.inputs),
        )
        self._version_directory = version_directory.absolute()
        self._tables: dict[int, Table] = {}

    def load_model(self) -> LocalScorer:
        return LocalScorer(self._version_directory, self._rows)

    def run_inference(
        self,
        batch: Sequence[PartRange],
        model: LocalScorer,
        inference_args: Mapping[str, Any] | None = None,
    ) -> Iterator[PredictionResult]:
        folder = OutputFolder(self._job)
        for parts in batch:
            number = parts.input_number
            if number not in self._tables:
                # Once, as some kinds of files are looked through for their columns.
                path = self._job.inputs[number].path
                self._tables[number] = open_table(path, self._job.reading)
            table = self._tables[number]
            done = sum(1 for _ in score_parts(self._job, table, parts, model, folder))
            yield PredictionResult(parts, done, str(self._version_directory))

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        # A part is work enough for one call.
        return {"max_batch_size": 1}

    def get_metrics_namespace(self) -> str:
        return "tfkmeans"


def score_by_beam(
    job: Job,
    tables: Sequence[Table],
    version_directory: Path,
    options: Sequence[str],
    *,
    overwrite: bool = False,
    on_begun: Callable[[Sequence[PartRecord]], None] | None = None,
) -> dict[str, Any]:
    """Do a job, or what is left of it, by a pipeline of Beam; gives its summary.

    Args:
        job: see ``plan_job``; without a limit.
        tables: the inputs of the job.
        version_directory: the version that answers.
        options: those of Beam's pipeline, as in ``--runner=FlinkRunner``.
        overwrite: whether to remove another job from the output folder.
        on_begun: called once nobody else can write there, with the parts that are done already.

    Raises as ``score_files`` does; RefusedOption; and what the runner raises.
    """
    began = time.monotonic()
    pipeline = _pipeline(options)
    with OutputFolder(job).lock(overwrite=overwrite) as folder:
        if on_begun is not None:
            on_begun(folder.records())
        left = [
            part
            for number, table in enumerate(tables)
            for part in find_missing_parts(job, number, table, folder, one_by_one=True)
        ]
        if left:
            counted = [table.rows for table in tables if table.rows is not None]
            rows = sum(counted) if len(counted) == len(tables) else None
            _run(pipeline, left, PartModelHandler(job, version_directory, rows))
        return summarize(job, folder, len(left), time.monotonic() - began)


def _pipeline(options: Sequence[str]) -> beam.Pipeline:
    """A pipeline without steps. Raises RefusedOption."""
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            read = PipelineOptions(list(options))
            read.get_all_options(retain_unknown_options=True)  # those of a runner's own are unknown
            pipeline = beam.Pipeline(options=read)
        _refuse_unknown(pipeline)
        return pipeline
    except ValueError as error:
        reason = str(error)
    except SystemExit:  # Beam reads its options by argparse, which says why and ends the program
        reason = said.getvalue().rpartition("error: ")[2]
    raise RefusedOption(f"--beam-option: Apache Beam says: {' '.join(reason.split())}")


def _refuse_unknown(pipeline: beam.Pipeline) -> None:
    """Raise RefusedOption for one that Beam, in this process, would leave out with a warning.

    What another runner knows besides Beam's own options, only that runner can tell.
    """
    if not isinstance(pipeline.runner, DirectRunner | FnApiRunner):
        return
    known = PipelineOptions([]).get_all_options()
    for name in pipeline.options.get_all_options(retain_unknown_options=True):
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise RefusedOption(f"--beam-option {name}: Apache Beam has no such option{hint}")


def _run(pipeline: beam.Pipeline, left: Sequence[PartRange], handler: PartModelHandler) -> None:
    try:
        with pipeline:
            _ = (
                pipeline
                | "parts" >> beam.Create(left)
                | "spread" >> beam.Reshuffle()
                | "score" >> RunInference(handler)
            )
    except RuntimeError as error:
        # What stops a worker that is in this process, Beam takes for an error of the step.
        cause = error.__context__
        while cause is not None and not isinstance(cause, KeyboardInterrupt | SystemExit):
            cause = cause.__context__
        if cause is not None:
            raise cause from None
        raise
