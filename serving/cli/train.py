"""``tfkmeans train``: from files of rows to a published version."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from export.addresses import model_name
from export.column_weights import describe_weights, weights_by_column
from export.feature_names import shorten_names
from export.model_card import CARD_FILE, ModelCard
from export.repository import config_entry, versions
from serving.report.numbers import format_number
from serving.tables.messages import format_count

from .arguments import AddressOrPlace, JsonOption, examples, integer
from .client_options import ConnectionOptions
from .column_options import (
    ColumnOptions,
    describe_columns,
)
from .device_options import DeviceOptions
from .errors import UserMistake
from .extras import needs_extra, require
from .gate_options import GateOptions, comparison_as_json, format_comparison, note_force
from .input_tables import FileOptions
from .label_options import StepOptions, describe_effect
from .option_groups import flat_options
from .publish import describe_left_out, describe_publish
from .report import CurvesOption, check_page, read_curves, write_report
from .start_options import StartOptions
from .streaming_options import StreamingOptions
from .tensorflow_import import load_tensorflow
from .terminal import note, print_fields, print_json, progress
from .training_input import FilesArgument, IterationOptions, RowOptions, explain_fit_errors
from .worker_options import WorkerOptions, refusal_after

if TYPE_CHECKING:
    from export.comparison import Comparison
    from export.publishing import PublishOptions
    from kmeans_module import FitResult, Progress, Reducer
    from serving.tables.model_rows import ModelColumns
    from serving.tables.streamed_rows import StreamedRows
    from serving.tables.training_rows import TrainingRows

    FittedRows = TrainingRows | StreamedRows

EXAMPLES: Final = examples(
    (
        "Three clusters of all numeric columns",
        "tfkmeans train rows.csv --clusters 3 --model models/customers",
    ),
    (
        "Two columns of different units, from several files",
        "tfkmeans train 2024.parquet 2025.parquet --columns age,income --standardize"
        " --clusters 8 --model models/customers",
    ),
    (
        "Without an id column, with row weights",
        "tfkmeans train shops.csv --exclude shop_id --weight-column revenue --clusters 5"
        " --model models/shops",
    ),
    (
        "With missing numbers and text columns, which the model takes by name",
        "tfkmeans train rows.csv --impute median --categories region,plan --standardize"
        " --clusters 5 --model models/customers",
    ),
    (
        "With an HTML report",
        "tfkmeans train rows.csv --clusters 3 --model models/customers --report customers.html",
    ),
    (
        "Only a candidate, to publish later",
        "tfkmeans train rows.csv --clusters 3 --candidate candidates/today",
    ),
)


#: Clusters whose sizes are printed for people; ``inspect`` has more, and ``--json`` all.
_SHOWN_SIZES: Final = 100


@dataclass(frozen=True)
class _Outcome:
    """The published version or candidate, and the effect on the server, if published."""

    path: Path
    card: ModelCard
    version: int | None = None
    comparisons: Sequence["Comparison"] = ()
    effect: str | None = None


@flat_options
def train(
    files: FilesArgument,
    clusters: Annotated[
        int, typer.Option(parser=integer(1), metavar="K", help="Number of clusters.")
    ],
    model: AddressOrPlace = None,
    candidate: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write the model to DIR without publishing, instead of --model."
        ),
    ] = None,
    row_options: RowOptions = RowOptions(),
    weight_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The column of row weights, at least 0. It is not a feature.",
        ),
    ] = None,
    column_options: ColumnOptions = ColumnOptions(),
    file_options: FileOptions = FileOptions(),
    start: StartOptions = StartOptions(),
    iterations: IterationOptions = IterationOptions(),
    devices: DeviceOptions = DeviceOptions(),
    streaming: StreamingOptions = StreamingOptions(),
    gate: GateOptions = GateOptions(),
    no_sample_rows: Annotated[
        bool,
        typer.Option(
            "--no-sample-rows",
            help="Store no rows of the data in the version, for example because they are "
            "personal; the gate then uses the live version's rows or --holdout.",
        ),
    ] = False,
    promote: Annotated[
        bool,
        typer.Option(
            "--promote", help="Move the label stable to the new version, which makes it live."
        ),
    ] = False,
    steps: StepOptions = StepOptions(),
    connection: ConnectionOptions = ConnectionOptions(),
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also write a report of the model, .html, like tfkmeans report.",
        ),
    ] = None,
    select_k: CurvesOption = None,
    tensorboard: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the iterations, and the centroids for the projector, for TensorBoard.",
        ),
    ] = None,
    workers: WorkerOptions = WorkerOptions(),
    json: JsonOption = False,
) -> None:
    """Cluster the rows of files, and publish the model as the next version of BASE.

    The first version is live at once, a later one after promote. A version that differs too much
    from the live version is refused.

    Rows with a missing value (an empty cell, NA, N/A, NaN, null, None, ? or -; null in Parquet) are
    left out and counted, unless --impute fills it.
    """
    began = time.monotonic()
    workers.check(files)
    # What a job of several workers had written when one was lost, it finds when it goes on.
    may_be_written = workers.workers is not None and start.has_checkpoint
    base = _check_target(model, candidate, promote=promote, server=steps.server)
    connection.check_server(steps.server)
    if base is None and connection.name is not None:
        raise UserMistake(
            f"--name {connection.name}: a candidate has no served name yet; leave it out"
        )
    start.check()
    if not workers.is_first:
        report = select_k = tensorboard = None
    reading, notes = file_options.reading(files, "FILE"), list[str]()
    told = {
        "clusters": clusters,
        "weight_column": weight_column,
        **{option: value for option, value in asdict(start).items() if option != "checkpoint"},
        **asdict(row_options),
        **asdict(column_options),
        **asdict(iterations),
        **asdict(file_options),
    }
    asked_by = "--out-of-core" if streaming.out_of_core else None
    if workers.workers is not None:
        asked_by = "--workers"
    # The folder of the checkpoint may hold a fit that was stopped before the rows are read.
    with start.explain_interruption(), ExitStack() as stack:
        reducer = stack.enter_context(refusal_after(workers.connect(told)))
        # What the first worker alone can see, the others hear once they are connected.
        if workers.is_first:
            _check_place(base, candidate, may_be_written=may_be_written)
        curves = _check_views(report, select_k, tensorboard, goes_on=start.has_checkpoint)
        stack.enter_context(devices.explain_errors())
        names, rows = row_options.read(
            files,
            notes,
            streaming,
            partial(start.announce_stream, asked_by=asked_by),
            reading,
            weight_column=weight_column,
            column_options=column_options,
            reducer=reducer,
        )
        if not workers.is_first:
            notes.clear()
        parameters: dict[str, Any] = {
            "standardize": row_options.standardize,
            "distance": row_options.distance.value,
            "feature_weight": rows.feature_weight,
            **asdict(iterations),
            **asdict(devices),
        }
        result, had_ended = _fit(
            rows, names, clusters, start, parameters, notes, tensorboard, reducer
        )
        every_row = stack.enter_context(refusal_after(_every_row(rows, reducer)))
        if every_row is None:  # another worker writes
            return
        rows = every_row
        before = None
        if may_be_written and had_ended:
            before = _find_written(base or candidate, connection.name, result, rows, names, files)
        if before is not None:
            note(f"{before.path}: already written before a worker was lost; not written again")
            outcome = before
        elif base is None:
            assert candidate is not None
            outcome = _write(candidate, result, rows, names, files, sample_rows=not no_sample_rows)
        else:
            outcome = _publish(
                result,
                rows,
                names,
                files,
                base,
                partial(gate.for_publishing, served_as=connection.name, reading=reading),
                sample_rows=not no_sample_rows,
                as_json=json,
            )
        _check_workers(reducer)
        if promote:
            assert base is not None
            outcome = _promote(outcome, base, steps, connection)
            _check_workers(reducer)
        views = _write_views(report, tensorboard, base, outcome, result, names, curves)
        _check_workers(reducer)
        imputed = getattr(rows, "imputed", {})
        _show(base, outcome, result, time.monotonic() - began, views, imputed, as_json=json)


def _check_views(
    report: Path | None, select_k: Path | None, tensorboard: Path | None, *, goes_on: bool
) -> "Mapping[str, Any] | None":
    """Check before the work that report and log can be written; returns the curves.

    The log of a fit that goes on goes on, too.
    """
    if report is not None:
        check_page(report, "--report")
    elif select_k is not None:
        raise UserMistake(
            f"--select-k {select_k}: requires --report; add it, or leave out --select-k"
        )
    if tensorboard is not None:
        if tensorboard.exists() and not tensorboard.is_dir():
            raise UserMistake(f"--tensorboard {tensorboard}: is a file; give a folder")
        if tensorboard.exists() and any(tensorboard.iterdir()) and not goes_on:
            raise UserMistake(
                f"--tensorboard {tensorboard}: is not empty, and runs would mix; give a new folder"
            )
        with needs_extra("report"):
            require("tensorboard")
    return read_curves(select_k)


@contextmanager
def _every_row(rows: "FittedRows", reducer: "Reducer | None") -> "Iterator[FittedRows | None]":
    """The rows of all workers, on the first worker, which writes; None on the others."""
    if reducer is None or reducer.workers == 1:
        yield rows
        return
    from kmeans_module import whole_source
    from serving.tables.streamed_rows import StreamedRows

    assert isinstance(rows, StreamedRows)
    with whole_source(rows.raw, reducer) as raw:
        yield None if raw is None else rows.with_every_row(raw)


def _check_workers(reducer: "Reducer | None") -> None:
    """End before the next step if a worker is lost; a restart of all workers takes this step."""
    if reducer is not None:
        reducer.check()


def _check_target(
    model: str | None,
    candidate: Path | None,
    *,
    promote: bool,
    server: str | None,
) -> Path | None:
    """The folder of the model; None if only a candidate is written."""
    if (model is None) == (candidate is None):
        raise UserMistake(
            "specify --model BASE to publish, or --candidate DIR to write a candidate; "
            "see tfkmeans train --help"
        )
    if server is not None and not promote:
        raise UserMistake(f"--server {server}: requires --promote; add it, or leave out --server")
    if candidate is not None:
        if promote:
            raise UserMistake("--promote: a candidate has no version yet; publish it first")
        return None
    assert model is not None
    if ":/" in model:
        raise UserMistake(
            f"--model {model}: write a candidate first, train ... --candidate DIR, and then: "
            "tfkmeans publish DIR BASE"
        )
    return Path(model)


def _check_place(base: Path | None, candidate: Path | None, *, may_be_written: bool) -> None:
    """Check before the work that the model or the candidate can be written.

    ``may_be_written`` says that the candidate may be there.
    """
    if base is not None:
        _check_base(base)
    elif candidate is not None and candidate.exists() and not may_be_written:
        raise UserMistake(f"--candidate {candidate}: already exists; give a new folder")


def _check_base(base: Path) -> None:
    """Check before the work that ``base`` can be the folder of a model."""
    there = next(folder for folder in (base, *base.absolute().parents) if folder.exists())
    if there.is_dir() and not os.access(there, os.W_OK | os.X_OK):
        raise UserMistake(f"--model {base}: {there} is not writable; give another folder")
    if not base.exists():
        if os.path.lexists(base) or not there.is_dir():
            raise UserMistake(f"--model {base}: {there} is not a folder; give another folder")
        return
    if not base.is_dir():
        raise UserMistake(f"--model {base}: is a file; give the folder of a model")
    if (base / "saved_model.pb").exists():
        raise UserMistake(f"--model {base}: is a version; give the folder above it")
    others = sorted(entry.name for entry in base.iterdir() if not entry.name.startswith("."))
    if others and not versions(base):
        raise UserMistake(
            f"--model {base}: is not a model folder, it contains {others[0]} and no version; give "
            f"a separate folder, such as {base}/NAME"
        )


def _fit(
    rows: "FittedRows",
    names: Sequence[str],
    clusters: int,
    start: StartOptions,
    parameters: Mapping[str, Any],
    notes: list[str],
    tensorboard: Path | None,
    reducer: "Reducer | None",
) -> "tuple[FitResult, bool]":
    """Fit the rows in float32, as the served model gets them.

    The notes are shown after the start of the fit: until then an error is the only line.

    Returns:
        The fit, and whether it had ended before: it went on behind its last iteration.
    """
    had_ended = True
    with progress("training") as tell, ExitStack() as stack:
        tell("loading TensorFlow")
        load_tensorflow("train")
        from kmeans_module import Encoder, fit
        from kmeans_module.workers import ALONE
        from serving.tables.encoded_rows import EncodedRows
        from serving.tables.streamed_rows import StreamedRows

        log = None
        if tensorboard is not None:
            from serving.report.tensorboard import TensorBoardLog

            log = stack.enter_context(TensorBoardLog(tensorboard))

        def on_iteration(now: "Progress") -> None:
            nonlocal had_ended
            had_ended = False
            if log is not None:
                log.write_iteration(now)
            while notes:
                note(notes.pop(0))
            which = f"start {now.start} of {now.n_init}, " if now.n_init > 1 else ""
            share = (now.start - 1 + now.iteration / now.max_iter) / now.n_init
            tell(
                f"{which}iteration {now.iteration}, inertia {format_number(now.inertia, 6)}", share
            )

        begin = start.parameters(names, clusters)
        tell("choosing the initial centroids")
        with explain_fit_errors(f"--clusters {clusters}", rows, names):
            result = fit(
                rows.fit_points,
                clusters,
                sample_weight=rows.fit_weights,
                on_iteration=on_iteration,
                reducer=reducer or ALONE,
                **begin,
                **parameters,
            )
        # A fit that had ended before has no iteration.
        while notes:
            note(notes.pop(0))
        if result.device != "cpu":
            note(f"the steps ran on {result.device}")
        if result.is_copied_anew:
            note(
                "the rows did not fit in its memory, and were copied in blocks in each step; "
                "with more --device-memory they are copied once"
            )
        if isinstance(rows, EncodedRows | StreamedRows) and rows.takes:
            result.module.take_columns(Encoder(rows.takes))
        return result, had_ended


def _takes(rows: "FittedRows") -> "ModelColumns":
    """The columns that the model of these rows takes from a table."""
    from serving.tables.encoded_rows import EncodedRows
    from serving.tables.model_rows import ModelColumns

    if isinstance(rows, EncodedRows):
        return ModelColumns(rows.takes, by_name=True)
    return ModelColumns.of_features(rows.columns)


def _find_written(
    place: Path | None,
    name: str | None,
    result: "FitResult",
    rows: "FittedRows",
    names: Sequence[str],
    files: Sequence[Path],
) -> _Outcome | None:
    """The candidate of this very fit, or the newest version where it is one; None if it is not.

    Args:
        place: of the candidate or the model.
        name: what the model is served as.
        result, rows, names, files: of the fit.
    """
    from export.candidate import is_card_of

    assert place is not None
    version = None
    if not (place / CARD_FILE).exists():
        version = max(versions(place), default=None) if place.is_dir() else None
        # Without an entry of the model its first version is not served: so another is published.
        if version is None or config_entry(place, name) is None:
            return None
    path = place if version is None else place / str(version)
    card = ModelCard.read(path)
    told = rows.n_rows, rows.rows_left_out, rows.weight_column, tuple(map(str, files)), tuple(names)
    of_card = card.data.rows_used, card.data.rows_left_out, card.data.weight_column
    if told != (*of_card, card.data.files, card.feature_names) or not is_card_of(card, result):
        return None
    if version is None:
        return _Outcome(path, card)
    effect = describe_publish(place, version, served_as=name, dry_run=False)
    return _Outcome(path, card, version, effect=effect)


def _write(
    candidate: Path,
    result: "FitResult",
    rows: "FittedRows",
    names: Sequence[str],
    files: Sequence[Path],
    *,
    sample_rows: bool,
) -> _Outcome:
    from export import make_card, write_candidate
    from export.candidate import travelling_rows
    from export.column_rows import ColumnRows
    from serving.tables.encoded_rows import EncodedRows
    from serving.tables.streamed_rows import StreamedRows

    points = rows.fit_points
    card = make_card(
        result,
        points,
        feature_names=names,
        files=[str(file) for file in files],
        rows_left_out=rows.rows_left_out,
        weight_column=rows.weight_column,
    )
    columns = None
    if isinstance(rows, EncodedRows):
        columns = ColumnRows.read(rows.takes, rows.table())
    elif isinstance(rows, StreamedRows) and rows.takes and sample_rows:
        numbers = travelling_rows(rows.source, card.parameters.seed)
        columns = ColumnRows.read(rows.takes, rows.take_columns(numbers))
    write_candidate(candidate, result, card, points, columns, sample_rows=sample_rows)
    return _Outcome(candidate, card)


def _publish(
    result: "FitResult",
    rows: "FittedRows",
    names: Sequence[str],
    files: Sequence[Path],
    base: Path,
    for_publishing: Callable[..., "AbstractContextManager[PublishOptions]"],
    *,
    sample_rows: bool,
    as_json: bool,
) -> _Outcome:
    from export import publish_fit
    from serving.tables.encoded_rows import EncodedRows
    from serving.tables.streamed_rows import StreamedRows

    comparisons: list[Comparison] = []
    table = rows.table() if isinstance(rows, EncodedRows) else None
    with (
        progress("publishing") as tell,
        for_publishing(str(base), _takes(rows), comparisons, as_json=as_json) as options,
    ):
        tell("measuring clusters, writing and validating")
        published = publish_fit(
            result,
            rows.fit_points if table is None else table,
            base,
            feature_names=None if result.module.encoder is not None else names,
            files=files,
            rows_left_out=rows.rows_left_out,
            weight_column=rows.weight_column,
            sample_rows=sample_rows,
            take_columns=rows.take_columns if isinstance(rows, StreamedRows) else None,
            **options,
        )
        number = published.version
        served_as = options.get("served_as")
        effect = describe_publish(base, number, served_as=served_as, dry_run=False)
    note_force(published.card.forced)
    return _Outcome(base / str(number), published.card, number, comparisons, effect)


def _write_views(
    report: Path | None,
    tensorboard: Path | None,
    base: Path | None,
    outcome: _Outcome,
    result: "FitResult",
    names: Sequence[str],
    curves: "Mapping[str, Any] | None",
) -> dict[str, str]:
    """Write the requested report and log; return their paths."""
    views = {"report": report, "tensorboard": tensorboard}
    if tensorboard is not None:
        from serving.report.tensorboard import TensorBoardLog

        sizes = [cluster.size for cluster in outcome.card.clusters]
        TensorBoardLog(tensorboard).write_centroids(result, names, sizes)
    if report is not None:
        with progress("reporting"):
            name = str(outcome.path)
            if base is not None:
                name = f"{model_name(base)}, version {outcome.version}"
            write_report(report, outcome.path, name, curves)
    return {name: str(place) for name, place in views.items() if place is not None}


def _promote(
    outcome: _Outcome, base: Path, steps: StepOptions, connection: ConnectionOptions
) -> _Outcome:
    from export import label_moves

    version = outcome.version
    assert version is not None
    entry = config_entry(base, connection.name)
    if steps.server is None and entry is not None and entry.stable == version:
        return outcome  # the first version
    plan = steps.move(base, lambda entry: label_moves.promote(base, entry, version), connection)
    return replace(outcome, effect=describe_effect(base, plan, server=steps.server, dry_run=False))


def _show(
    base: Path | None,
    outcome: _Outcome,
    result: "FitResult",
    seconds: float,
    views: Mapping[str, str],
    imputed: Mapping[str, int],
    *,
    as_json: bool,
) -> None:
    card = outcome.card
    weights_of_columns = weights_by_column(card)
    silhouette = card.silhouette.value
    if as_json:
        print_json(
            {
                "model": None if base is None else str(base),
                "version": outcome.version,
                "path": str(outcome.path),
                "rows_read": card.data.rows_read,
                "rows_used": card.data.rows_used,
                "rows_left_out": card.data.rows_left_out,
                "columns": card.feature_names,
                "encoder": None if card.encoder is None else asdict(card.encoder),
                "imputed": dict(imputed),
                "feature_weight": weights_of_columns or None,
                "signatures_left_out": card.signatures_left_out,
                "weight_column": card.data.weight_column,
                "standardize": card.standardize,
                "distance": card.distance,
                "n_clusters": card.n_clusters,
                "init": card.parameters.init,
                "n_init": card.parameters.n_init,
                "seed": card.parameters.seed,
                "seeding": card.parameters.seeding,
                "sample_rows": card.parameters.sample_rows,
                "passes": card.parameters.passes,
                "n_iter": card.n_iter,
                "converged": card.converged,
                "engine": result.engine,
                "device": result.device,
                "inertia": card.inertia,
                "silhouette": silhouette,
                "cluster_sizes": [cluster.size for cluster in card.clusters],
                "comparison": comparison_as_json(outcome.comparisons),
                "forced": list(card.forced),
                "server": outcome.effect,
                "report": views.get("report"),
                "tensorboard": views.get("tensorboard"),
                "seconds": round(seconds, 3),
            }
        )
        return
    commands = {"report": "{}", "tensorboard": "tensorboard --logdir {}"}
    stopped = "not converged: raise --max-iter"
    if card.parameters.passes is not None:
        stopped = "approximate: --passes"
    if card.converged:
        stopped = "converged"
    print_fields(
        f"{'wrote candidate' if base is None else 'published'} {outcome.path}",
        [
            ("rows", f"{card.data.rows_used:,} used, {card.data.rows_left_out:,} left out"),
            *([("columns", describe_columns(card.columns))] if card.encoder else []),
            ("features" if card.encoder else "columns", shorten_names(card.feature_names)),
            *([("feature weights", describe_weights(card))] if weights_of_columns else []),
            *([("weights", weights)] if (weights := card.data.weight_column) else []),
            ("clusters", f"{card.n_clusters}, {_describe_start(card)}"),
            ("distance", card.distance),
            ("iterations", f"{card.n_iter} ({stopped})"),
            ("inertia", format_number(card.inertia, 6)),
            ("silhouette", "undefined" if silhouette is None else f"{silhouette:.4f}"),
            ("cluster sizes", _format_sizes([cluster.size for cluster in card.clusters])),
            *describe_left_out(card),
            *(
                (f"compared with version {each.live_version}", format_comparison(each))
                for each in outcome.comparisons
            ),
            *([("server", outcome.effect)] if outcome.effect else []),
            *((name, commands[name].format(place)) for name, place in views.items()),
        ],
    )


def _describe_start(card: ModelCard) -> str:
    """The origin of the initial centroids."""
    parameters = card.parameters
    if parameters.seeding is None:
        return "from given centroids"
    sample = parameters.sample_rows
    of_sample = "" if sample is None else f" on a sample of {format_count(sample, 'row')}"
    starts = format_count(parameters.n_init, "start")
    return f"the best of {starts}{of_sample} ({parameters.init})"


def _format_sizes(sizes: Sequence[int]) -> str:
    shown = ", ".join(f"{size:,}" for size in sizes[:_SHOWN_SIZES])
    more = len(sizes) - _SHOWN_SIZES
    return f"{shown} and {more:,} more" if more > 0 else shown
