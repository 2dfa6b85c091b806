"""Output of a command: results on stdout, everything else on stderr."""

import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, TextIO

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

#: Seconds after which a command begins to show how far it is.
_PATIENCE: Final = 1.0

#: The bars that are shown, or will be.
_bars: "Final[list[Progress]]" = []


class ProgressCallback(Protocol):
    """Shows the progress of a command: as text, and as a share if it is known."""

    def __call__(self, detail: str, share: float | None = None) -> None: ...


def note(text: str) -> None:
    """A line in addition to the result; above the progress bar if there is one."""
    if _bars:
        _bars[-1].console.print(text, markup=False, highlight=False, soft_wrap=True)
    else:
        typer.echo(text, err=True)


def print_json(value: Mapping[str, Any]) -> None:
    """A result as one line of JSON."""
    typer.echo(json.dumps(value))


def print_fields(title: str, fields: Sequence[tuple[str, str]]) -> None:
    """A result as text: a title and one line per field."""
    width = max(len(name) for name, _ in fields)
    typer.echo(title)
    for name, value in fields:
        typer.echo(f"  {name:<{width}}  {value}")


def print_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A result as text: a line of names, and one line per row."""
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    for row in [names, *rows]:
        typer.echo(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


@contextmanager
def progress(what: str) -> Iterator[ProgressCallback]:
    """A bar on a terminal's stderr while the block runs; it appears after a second."""
    if not sys.stderr.isatty():
        yield _ignore_progress
        return
    # Its own way to the terminal: the descriptor of stderr is kept quiet while TensorFlow loads.
    with os.fdopen(os.dup(sys.stderr.fileno()), "w") as terminal:
        yield from _show_progress(what, terminal)


def _show_progress(what: str, terminal: TextIO) -> Iterator[ProgressCallback]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
        console=Console(file=terminal),
        transient=True,
        # What the command prints meanwhile is not the bar's to reroute.
        redirect_stdout=False,
        redirect_stderr=False,
    )
    task = bar.add_task(what, total=None, detail="")

    def tell(detail: str, share: float | None = None) -> None:
        bar.update(task, detail=detail, completed=share or 0, total=None if share is None else 1)

    timer = threading.Timer(_PATIENCE, bar.start)
    timer.daemon = True
    timer.start()
    _bars.append(bar)
    try:
        yield tell
    finally:
        _bars.remove(bar)
        timer.cancel()
        timer.join()
        if bar.live.is_started:
            bar.stop()


def _ignore_progress(detail: str, share: float | None = None) -> None:
    pass
