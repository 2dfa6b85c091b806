"""``tfkmeans batch-score``: the cluster of every row of files, into a folder of files."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from export.addresses import model_name
from export.errors import InvalidCandidate
from export.model_card import CARD_FILE, ModelCard
from serving.batch.job import Format, Job, OnBadRow, ScoredModel
from serving.tables.errors import UnreadableFile
from serving.tables.messages import format_count

from .arguments import (
    JsonOption,
    ModelOrPlace,
    examples,
    integer,
    parse_amount,
)
from .beam_log import short_beam_log
from .client_options import ConnectionOptions, ScoringServerOption, TimeoutOption
from .errors import UserMistake
from .exit_codes import REFUSED
from .extras import needs_extra
from .input_tables import (
    FILES_HELP,
    FileOptions,
    InputTables,
    check_served_columns,
    note_unused_columns,
    open_tables,
    parse_column_names,
)
from .option_groups import flat_options
from .scoring_progress import ScoringProgress
from .tensorflow_import import load_tensorflow
from .terminal import note, print_fields, print_json, progress
from .version_options import VersionOptions

if TYPE_CHECKING:
    from serving.batch.output_folder import OutputFolder, PartRecord
    from serving.batch.scorer import Scorer

EXAMPLES: Final = examples(
    (
        "The cluster and the distance of each row, with its id, as Parquet files in out/scored",
        "tfkmeans batch-score rows.csv out --model models/customers --keep id",
    ),
    (
        "A folder, as CSV; the same command resumes an interrupted job",
        "tfkmeans batch-score in/ out --model models/customers --format csv",
    ),
    (
        "With a running server, without local TensorFlow",
        "tfkmeans batch-score in/ out --model models/customers --server models:8500",
    ),
    (
        "With Apache Beam, on any of its runners",
        "tfkmeans batch-score in/ out --model models/customers --runner beam"
        " --beam-option runner=FlinkRunner",
    ),
    (
        "Show the inputs and outputs without running",
        "tfkmeans batch-score in/ out --model models/customers --dry-run",
    ),
)


class Runner(StrEnum):
    """The program that does the work."""

    LOCAL = "local"
    BEAM = "beam"


@dataclass(frozen=True)
class _Target:
    """The version that answers: its folder, if any, its card, and its name in the job."""

    directory: Path | None
    card: ModelCard
    model: ScoredModel


@dataclass(frozen=True)
class _Server:
    """The server that scores the rows, and the options of its requests."""

    address: str
    name: str
    connection: ConnectionOptions
    timeout: float
    patience: float
    in_flight: int


@flat_options
def batch_score(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN", help=FILES_HELP)],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write.")],
    model: ModelOrPlace = None,
    version: VersionOptions = VersionOptions(),
    keep: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Input columns to copy to the output; '*' means all."),
    ] = None,
    file_options: FileOptions = FileOptions(),
    form: Annotated[
        Format, typer.Option("--format", help="The file format of the output.")
    ] = Format.PARQUET,
    score: Annotated[
        bool, typer.Option("--score", help="Add squared_distance and the simplified silhouette.")
    ] = False,
    all_distances: Annotated[
        bool, typer.Option("--all-distances", help="Add the distances to all centroids.")
    ] = False,
    on_bad_row: Annotated[
        OnBadRow,
        typer.Option(help="Write a row that cannot be scored to OUT/rejected, or end the job."),
    ] = OnBadRow.REJECT,
    strict: Annotated[
        bool, typer.Option("--strict", help="End with exit code 3 if rows were rejected.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(
            parser=integer(1), metavar="N", help="Read only the first N rows of all inputs."
        ),
    ] = None,
    part_rows: Annotated[
        int,
        typer.Option(
            parser=integer(1),
            metavar="N",
            help="Rows in each part, which is one output file; an interruption loses at most one "
            "part.",
        ),
    ] = Job.part_rows,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the inputs and outputs without running.")
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Remove the existing job in OUT, and start a new one."),
    ] = False,
    runner: Annotated[
        Runner, typer.Option(help="Where to run: in this process, or on Apache Beam.")
    ] = Runner.LOCAL,
    beam_option: Annotated[
        list[str] | None,
        typer.Option(
            "--beam-option",
            metavar="NAME=VALUE",
            help="An option of Beam's pipeline, such as runner=FlinkRunner; repeatable.",
        ),
    ] = None,
    server: ScoringServerOption = None,
    card: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="With --server, instead of --model: the card of the served version.",
        ),
    ] = None,
    in_flight: Annotated[
        int,
        typer.Option(parser=integer(1), metavar="N", help="Maximum number of concurrent requests."),
    ] = 4,
    patience: Annotated[
        float,
        typer.Option(
            parser=parse_amount,
            metavar="X",
            help="Seconds to wait for a server that restarts.",
        ),
    ] = 120.0,
    timeout: TimeoutOption = 30.0,
    connection: ConnectionOptions = ConnectionOptions(),
    json: JsonOption = False,
) -> None:
    """Write the cluster and the distance of each row of the inputs to the folder OUT.

    OUT/scored has the rows in input order, OUT/rejected the rows that cannot be scored, with the
    reason, and OUT/summary.json the counts. The same command resumes an interrupted job.
    """
    _check_flags(server, card, runner, beam_option, limit)
    connection.check_server(server)
    target = _find_target(model, version, card, connection)
    check_served_columns(server, target.card)
    target_server = None
    if server is not None:
        served_as = target.model.name if model is None else connection.served_name(model)
        target_server = _Server(server, served_as, connection, timeout, patience, in_flight)
    reading = file_options.reading(inputs, "IN")
    with open_tables(inputs, "batch", output, reading) as given:
        from serving.batch.job_plan import plan_job
        from serving.batch.output_folder import OutputFolder

        job = plan_job(
            given.tables,
            output,
            target.model,
            target.card,
            keep=parse_column_names("--keep", keep) if keep is not None else (),
            score=score,
            all_distances=all_distances,
            form=form,
            on_bad_row=on_bad_row,
            part_rows=part_rows,
            limit=limit,
            copies=given.copies,
            reading=reading,
        )
        folder = OutputFolder(job)
        # All that can be known is checked before TensorFlow is loaded or a server is asked.
        begun = not overwrite and folder.has_begun()
        if dry_run:
            _show_plan(job, given, folder if begun else None, as_json=json)
            return
        used = [column for each in job.inputs for column in each.columns]
        note_unused_columns(given.tables, [*used, *job.keep])
        if runner is Runner.BEAM:
            summary = _score_by_beam(job, given, target, beam_option or (), overwrite=overwrite)
        else:
            summary = _score_locally(job, given, target, target_server, overwrite=overwrite)
    _show(summary, as_json=json)
    if strict and summary["rejected"]:
        raise typer.Exit(REFUSED)


def _check_flags(
    server: str | None,
    card: Path | None,
    runner: Runner,
    beam_options: Sequence[str] | None,
    limit: int | None,
) -> None:
    """Check for options that conflict."""
    if card is not None and server is None:
        raise UserMistake(
            "--card: requires --server; add it, or give --model BASE to score in this process"
        )
    if beam_options and runner is not Runner.BEAM:
        raise UserMistake("--beam-option: requires --runner beam; add it")
    if runner is Runner.BEAM and server is not None:
        raise UserMistake(
            "--server: conflicts with --runner beam, whose workers load the model; leave out one"
        )
    if runner is Runner.BEAM and limit is not None:
        raise UserMistake("--limit: conflicts with --runner beam; leave out one")


def _find_target(
    base: Path | None,
    version: VersionOptions,
    card_file: Path | None,
    connection: ConnectionOptions,
) -> _Target:
    """Find the version that answers. Raises UserMistake, ExportError."""
    if (base is None) == (card_file is None):
        raise UserMistake("specify --model BASE; or, with --server, --card FILE")
    if base is not None:
        directory, number, card = version.read(base, name=connection.name)
        called = connection.name or model_name(base)
        return _Target(directory, card, ScoredModel(called, number, _sha256(directory / CARD_FILE)))
    assert card_file is not None
    if version.label is not None:
        raise UserMistake(f"--label {version.label}: requires --model; give --version N instead")
    try:
        card = ModelCard.from_json(card_file.read_text(encoding="utf-8"), origin=str(card_file))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidCandidate(f"--card {card_file}: unreadable: {error}") from None
    number_of_folder = card_file.absolute().parent.parent.name
    if version.version is None and not number_of_folder.isdecimal():
        raise UserMistake(f"--card {card_file}: has no version number; add --version N")
    served_name = connection.name or card.model
    if served_name is None:
        raise UserMistake(f"--card {card_file}: has no model name; add --name NAME")
    number = int(number_of_folder) if version.version is None else version.version
    return _Target(None, card, ScoredModel(served_name, number, _sha256(card_file)))


def _sha256(card_file: Path) -> str:
    """The hash of the card identifies the version, because the card has the other hashes."""
    return hashlib.sha256(card_file.read_bytes()).hexdigest()


def _score_locally(
    job: Job,
    given: InputTables,
    target: _Target,
    target_server: _Server | None,
    *,
    overwrite: bool,
) -> dict[str, Any]:
    """Score in this process; return the summary."""
    from serving.batch.local_runner import score_files

    with progress("scoring") as tell:
        tell("loading the model" if target_server is None else "contacting the server")
        rows = _estimate_rows(job, given)
        with _open_scorer(target, target_server, rows) as scorer, _note_resumption(job):
            watch = ScoringProgress(tell, rows)

            def on_begun(done: "Sequence[PartRecord]") -> None:
                _note_done(done)
                watch.add_earlier_rows(sum(record.tally.rows for record in done))

            return score_files(
                job,
                given.tables,
                scorer,
                overwrite=overwrite,
                at_a_time=None if target_server is None else target_server.in_flight,
                on_begun=on_begun,
                on_rows=watch.on_rows,
            )


@contextmanager
def _open_scorer(target: _Target, server: _Server | None, rows: int | None) -> Iterator["Scorer"]:
    if server is None:
        assert target.directory is not None
        load_tensorflow("train")
        from serving.batch.scorer import LocalScorer

        yield LocalScorer(target.directory, rows)
        return
    from export import golden_requests
    from serving.batch.server_scorer import ServerScorer, one_line

    with server.connection.client(
        server.address, server.name, server.timeout, in_flight=server.in_flight
    ) as client:
        scorer = ServerScorer(
            client,
            target.model.version,
            server.address,
            patience=server.patience,
            on_trouble=lambda error: note(f"waiting for the server: {one_line(error)}"),
        )
        directory = target.directory
        scorer.check(target.card, () if directory is None else golden_requests.read(directory))
        try:
            yield scorer
        finally:
            scorer.give_up()


@contextmanager
def _note_resumption(job: Job) -> Iterator[None]:
    """Report, when the work is interrupted, the finished parts and how to resume."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        from serving.batch.output_folder import OutputFolder

        done = format_count(len(OutputFolder(job).records()), "part")
        mend = "" if job.inputs[0].is_copy else "; the same command resumes"
        note(f"{done} done in {job.output}{mend}")
        raise
    except UnreadableFile:
        note("a corrected file makes a new job, which needs --overwrite")
        raise


def _score_by_beam(
    job: Job, given: InputTables, target: _Target, options: Sequence[str], *, overwrite: bool
) -> dict[str, Any]:
    """Score with the workers of Beam; return the summary."""
    assert target.directory is not None
    if given.copies:
        raise UserMistake("-: Beam workers cannot read standard input; give files")
    for option in options:
        if "=" not in option or option.startswith("-"):
            raise UserMistake(
                f"--beam-option {option}: give NAME=VALUE, such as runner=FlinkRunner"
            )
    with progress("scoring with Beam") as tell, short_beam_log():
        tell("starting")
        load_tensorflow("beam")
        with needs_extra("beam"):
            from serving.batch.beam_runner import score_by_beam
        with _note_resumption(job):
            return score_by_beam(
                job,
                given.tables,
                target.directory,
                [f"--{option}" for option in options],
                overwrite=overwrite,
                on_begun=_note_done,
            )


def _note_done(done: "Sequence[PartRecord]") -> None:
    if done:
        note(f"resuming: {format_count(len(done), 'part')} already done")


def _estimate_rows(job: Job, given: InputTables) -> int | None:
    """The exact or estimated number of rows to score; None if unknown."""
    known = [table.estimated_rows for table in given.tables]
    counts = [rows for rows in known if rows is not None]
    total = sum(counts) if len(counts) == len(known) else None
    return min((rows for rows in (total, job.limit) if rows is not None), default=None)


def _show_plan(
    job: Job, given: InputTables, begun: "OutputFolder | None", *, as_json: bool
) -> None:
    from serving.batch.part_schema import output_schema

    schema = output_schema(job)
    done = 0 if begun is None else len(begun.records())
    rows = _estimate_rows(job, given)
    is_counted = all(table.rows is not None for table in given.tables)
    plan = {
        "files": [table.name for table in given.tables],
        "rows": rows,
        "rows_are_counted": is_counted,
        "features": list(job.takes.names),
        "model": job.model.name,
        "version": job.model.version,
        "output": str(job.output),
        "format": str(job.format),
        "columns": schema.names,
        "parts_done": done,
    }
    if as_json:
        print_json(plan)
        return
    about = "unknown until they are read" if rows is None else f"{rows:,}"
    kinds = [(field.name, str(field.type)) for field in schema]
    print_fields(
        f"would write {job.output}/scored",
        [
            ("model", f"{job.model.name}, version {job.model.version}"),
            ("files", _shorten([table.name for table in given.tables])),
            ("rows", about if is_counted or rows is None else f"about {about}"),
            ("columns read" if job.takes.by_name else "features", job.takes.shorten()),
            ("format", f"{job.format}, parts of {format_count(job.part_rows, 'row')}"),
            ("columns", ", ".join(f"{column} {kind}" for column, kind in kinds)),
            ("done", format_count(done, "part")),
        ],
    )


def _shorten(names: Sequence[str]) -> str:
    """The first names, and the number of the others."""
    if len(names) <= 4:
        return ", ".join(names)
    return f"{', '.join(names[:3])} and {len(names) - 3:,} more"


def _show(summary: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(summary)
        return
    from serving.batch.column_gaps import describe_gaps

    output, seconds = summary["output"], summary["seconds"]
    rejected = f"{summary['rejected']:,}"
    if summary["rejected"]:
        rejected += f" (reasons: {output}/rejected)"
    model = summary["model"]
    gaps = describe_gaps(summary.get("columns", {}), summary["scored"])
    print_fields(
        f"wrote {output}/scored",
        [
            ("model", f"{model['name']}, version {model['version']}"),
            ("rows", f"{summary['rows']:,} of {format_count(summary['files'], 'file')}"),
            ("scored", f"{summary['scored']:,} in {format_count(summary['parts'], 'part')}"),
            ("rejected", rejected),
            *([("columns", gaps)] if gaps else []),
            ("seconds", f"{seconds:.2f}"),
        ],
    )
