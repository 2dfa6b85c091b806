"""``tfkmeans select-k``: measure every number of clusters, and suggest one."""

import json as json_text
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from .arguments import JsonOption, examples, integer
from .column_options import ColumnOptions
from .errors import UserMistake
from .extras import needs_extra
from .input_tables import FileOptions
from .option_groups import flat_options
from .scoring_progress import format_duration
from .selection_checkpoint import SelectionCheckpoint
from .streaming_options import STREAM_PANEL, StreamingOptions
from .tensorflow_import import load_tensorflow
from .terminal import note, print_json, print_table, progress
from .training_input import FilesArgument, IterationOptions, RowOptions, explain_fit_errors

if TYPE_CHECKING:
    from kmeans_module import MeasuredK, Selection, SelectionProgress
    from serving.tables.streamed_rows import StreamedRows
    from serving.tables.training_rows import TrainingRows

    SelectedRows = TrainingRows | StreamedRows

EXAMPLES: Final = examples(
    ("Measure 2 to 20 clusters", "tfkmeans select-k rows.csv"),
    (
        "Columns of different units, with the curves for a report",
        "tfkmeans select-k rows.parquet --from 2 --to 12 --standardize --out curves.json",
    ),
    (
        "Data larger than memory: cluster a sample, and measure all rows",
        "tfkmeans select-k rows.parquet --to 12 --out-of-core --cache caches",
    ),
    ("Resume after Ctrl-C", "tfkmeans select-k rows.parquet --from 2 --to 12 --resume"),
)

_KINDS: Final = (".json", ".csv")


@flat_options
def select_k(
    files: FilesArgument,
    k_min: Annotated[
        int,
        typer.Option("--from", parser=integer(1), metavar="K", help="The smallest k, at least 2."),
    ] = 2,
    k_max: Annotated[
        int, typer.Option("--to", parser=integer(1), metavar="K", help="The largest k.")
    ] = 20,
    row_options: RowOptions = RowOptions(),
    column_options: ColumnOptions = ColumnOptions(),
    file_options: FileOptions = FileOptions(),
    n_init: Annotated[
        int,
        typer.Option(
            parser=integer(1), metavar="N", help="Starts for each k, also on halves of the rows."
        ),
    ] = 4,
    resamples: Annotated[
        int,
        typer.Option(
            parser=integer(2),
            metavar="N",
            help="Number of halves of the rows to cluster for the stability.",
        ),
    ] = 10,
    iterations: IterationOptions = IterationOptions(),
    streaming: StreamingOptions = StreamingOptions(),
    sample_rows: Annotated[
        int | None,
        typer.Option(
            parser=integer(1),
            metavar="N",
            help="For rows that do not fit in memory: the sample size to cluster for each k; by "
            "default 4,000 for each cluster of the largest k.",
            rich_help_panel=STREAM_PANEL,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the measures to FILE, .json or .csv; reports need .json."
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Resume the interrupted command, with the same result."),
    ] = False,
    json: JsonOption = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print the measures as CSV.")] = False,
) -> None:
    """Measure every number of clusters from --from to --to, and suggest one if it stands out.

    A k stands out if its clusters are more compact than clusters of noise in the same box, and if
    halves of the rows give the same clusters. docs/choosing-k.md explains the limits of each
    measure.
    """
    began = time.monotonic()
    _check(k_min, k_max, sample_rows, out, json=json, csv=csv)
    reading, notes = file_options.reading(files, "FILE"), list[str]()
    names, rows = row_options.read(
        files, notes, streaming, _announce_stream, reading, column_options=column_options
    )
    settings: dict[str, Any] = {
        "k_min": k_min,
        "k_max": k_max,
        "n_init": n_init,
        "max_iter": iterations.max_iter,
        "tol": iterations.tol,
        "standardize": row_options.standardize,
        "distance": row_options.distance.value,
        "resamples": resamples,
        "seed": iterations.seed,
    }
    # A checkpoint is known by the settings: one of 0.1 had no such setting, and goes on.
    if rows.feature_weight is not None:
        settings["feature_weight"] = rows.feature_weight
    found = _select(rows, names, settings, sample_rows, notes, resume=resume)
    with needs_extra("train"):
        from serving.report import curves
    measured = [curves.as_row(each) for each in found.measured]
    described = {
        "files": [str(file) for file in files],
        "rows_read": rows.rows_read,
        "rows_used": rows.n_rows,
        "rows_left_out": rows.rows_left_out,
        "sample_rows": found.sample_rows,
        "columns": list(names),
        "standardize": row_options.standardize,
        "distance": row_options.distance.value,
        "feature_weight": rows.feature_weight,
        "from": k_min,
        "to": k_max,
        "n_init": n_init,
        "resamples": resamples,
        "seed": iterations.seed,
        "measured": measured,
        "suggestion": found.suggestion,
        "reason": found.reason,
        "seconds": round(time.monotonic() - began, 3),
    }
    if out is not None:
        _write(out, described, measured)
    if json:
        print_json(described)
        return
    if csv:
        typer.echo(curves.as_csv(measured), nl=False)
    else:
        _show(measured, found)
    say = note if csv else typer.echo
    for line in (found.reason, curves.describe_sample(described)):
        if line is not None:
            say(line)


def _announce_stream(reason: str) -> None:
    note(
        f"{reason}: the rows are read from a cache, a sample of them is clustered for each k, and "
        "one reading of all measures every k"
    )


def _sample_settings(
    rows: "SelectedRows", sample_rows: int | None, notes: list[str]
) -> dict[str, Any]:
    """The arguments of ``select_k`` for the sample; only rows from a cache have one."""
    from serving.tables.streamed_rows import StreamedRows

    if isinstance(rows, StreamedRows):
        return {"sample_rows": sample_rows}
    if sample_rows is not None:
        notes.append(
            f"--sample-rows {sample_rows}: the rows fit in memory, and all are clustered; add "
            "--out-of-core to cluster a sample"
        )
    return {}


def _check(
    k_min: int,
    k_max: int,
    sample_rows: int | None,
    out: Path | None,
    *,
    json: bool,
    csv: bool,
) -> None:
    if k_min < 2:
        raise UserMistake(f"--from {k_min}: one cluster has no silhouette; give 2 or more")
    if k_min > k_max:
        raise UserMistake(f"--from {k_min} is above --to {k_max}; give them in order")
    if sample_rows is not None and sample_rows < k_max:
        raise UserMistake(
            f"--sample-rows {sample_rows}: is less than --to {k_max}; give at least {k_max}"
        )
    if json and csv:
        raise UserMistake("--json and --csv: conflict; give one of them")
    if out is None:
        return
    if out.suffix.lower() not in _KINDS:
        raise UserMistake(
            f"--out {out}: unknown file type {out.suffix!r}; the name must end with "
            f"{' or '.join(_KINDS)}"
        )
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise UserMistake(f"--out {out}: not a file in an existing folder; give one")


def _select(
    rows: "SelectedRows",
    names: Sequence[str],
    settings: Mapping[str, Any],
    sample_rows: int | None,
    notes: list[str],
    *,
    resume: bool,
) -> "Selection":
    with progress("selecting k") as tell:
        tell("loading TensorFlow")
        load_tensorflow("train")
        from export.row_measures import fingerprint
        from kmeans_module import select_k as select

        points = rows.fit_points
        of_sample = _sample_settings(rows, sample_rows, notes)
        settings = {**settings, **of_sample}
        if of_sample:
            tell("reading all rows")
        checkpoint = SelectionCheckpoint.of(fingerprint(points, names), settings)
        done = checkpoint.read() if resume else ()
        if resume:
            last = f"resuming after k = {done[-1].k}" if done else "there is no interrupted run"
            notes.append(f"--resume: {last}")
        kept = list(done)
        k_max = settings["k_max"]
        began, first_share = time.monotonic(), 0.0

        def on_progress(now: "SelectionProgress") -> None:
            nonlocal first_share
            while notes:
                note(notes.pop(0))
            first_share = first_share or now.share
            tell(f"k {now.k} of {k_max}, {now.step}{format_remaining(now.share)}", now.share)

        def on_measured(each: "MeasuredK") -> None:
            checkpoint.add(kept, each)
            if of_sample and each.k == k_max:
                tell("measuring all rows")

        def format_remaining(share: float) -> str:
            gone = time.monotonic() - began
            if share - first_share < 0.02:
                return ""
            seconds = gone / (share - first_share) * (1 - share)
            return f", about {format_duration(seconds)} left"

        try:
            with explain_fit_errors(f"--to {k_max}", rows, names):
                found = select(
                    points,
                    **settings,
                    measured=done,
                    on_progress=on_progress,
                    on_measured=on_measured,
                )
        except KeyboardInterrupt:
            if kept:
                note(f"stopped after k = {kept[-1].k}; the same command with --resume continues")
            raise
    while notes:
        note(notes.pop(0))
    checkpoint.remove()
    return found


def _write(out: Path, described: Mapping[str, Any], measured: Sequence[Mapping[str, Any]]) -> None:
    from export.durable_files import write_atomically
    from serving.report import curves

    as_json = out.suffix.lower() == ".json"
    text = json_text.dumps(described, indent=2) + "\n" if as_json else curves.as_csv(measured)
    try:
        write_atomically(out, text)
    except OSError as error:
        raise UserMistake(
            f"--out {out}: cannot be written: {error.strerror}; give another path"
        ) from error
    print(f"wrote {out}", file=sys.stderr)  # noqa: T201


def _show(measured: Sequence[Mapping[str, Any]], found: "Selection") -> None:
    names = {
        "k": "k",
        "inertia": "inertia",
        "silhouette": "silhouette",
        "noise_silhouette": "of noise",
        "stability": "stability",
        "recovery": "recovery",
        "simplified_silhouette": "simplified",
        "davies_bouldin": "davies-bouldin",
        "calinski_harabasz": "calinski-harabasz",
    }
    rows = [
        [_number(each[name]) for name in names]
        + ["<- suggested" if each["k"] == found.suggestion else ""]
        for each in measured
    ]
    print_table([*names.values(), ""], rows)
    typer.echo()


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return (
        str(value) if isinstance(value, int) else f"{value:.4g}" if value < 1e4 else f"{value:.6g}"
    )
