"""The application: its commands and its error handling."""

import inspect
import os
import platform
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from types import FrameType
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.main import get_command

from kmeans_module.quiet_import import LOG_LEVEL

from . import (
    assign,
    batch_score,
    canary,
    compare,
    import_sklearn,
    inspect_model,
    metadata,
    monitor,
    probe,
    promote,
    prune,
    publish,
    report,
    rollback,
    select_k,
    serve,
    train,
    verify,
    versions,
)
from .exit_codes import DONE, FAULT, INTERRUPTED, MISTAKE, USAGE_ERROR, exit_code
from .serving_flags import ServeCommand
from .terminal import note

_NAME: Final = "tfkmeans"

#: Characters of an error's line.
_LONGEST_LINE: Final = 1500


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"{_NAME} {version(_NAME)}")
        raise typer.Exit(DONE)


app: Final = typer.Typer(
    name=_NAME,
    help="Train k-means in TensorFlow, publish it for TensorFlow Serving, and query it.",
    epilog="Exit codes: 0 done, 1 internal error, 2 usage error or server unreachable, "
    "3 check failed, 130 interrupted, 143 a worker was lost: restart all workers.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


def _add(panel: str, name: str, module: Any, function: str, **options: Any) -> None:
    """Add a command to a group of the help; a paragraph of its text is as wide as the terminal."""
    command = getattr(module, function)
    paragraphs = inspect.cleandoc(command.__doc__).split("\n\n")
    text = "\n\n".join(" ".join(each.split()) for each in paragraphs)
    add = app.command(name, help=text, epilog=module.EXAMPLES, rich_help_panel=panel, **options)
    add(command)


_add("Train and inspect", "train", train, "train")
_add("Train and inspect", "select-k", select_k, "select_k")
_add("Train and inspect", "report", report, "report")
_add("Train and inspect", "compare", compare, "compare")
_add("Train and inspect", "inspect", inspect_model, "inspect_model")
_add("Train and inspect", "import-sklearn", import_sklearn, "import_sklearn")
_add("Versions", "publish", publish, "publish_candidate")
_add("Versions", "versions", versions, "list_versions")
_add("Versions", "promote", promote, "promote")
_add("Versions", "canary", canary, "canary")
_add("Versions", "rollback", rollback, "rollback")
_add("Versions", "prune", prune, "prune")
_add("Versions", "verify", verify, "verify")
_add("Serve and query", "serve", serve, "serve", cls=ServeCommand)
_add("Serve and query", "assign", assign, "assign")
_add("Serve and query", "batch-score", batch_score, "batch_score")
_add("Serve and query", "probe", probe, "probe")
_add("Serve and query", "monitor", monitor, "monitor")
_add("Serve and query", "metadata", metadata, "metadata")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default the process's own; gives the exit code."""
    # Before TensorFlow is imported by any command: its news of the processor are no error.
    os.environ.setdefault(LOG_LEVEL, "2")
    # Before gRPC is: its own lines on a failed connection are no error of ours.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    if platform.libc_ver()[0] == "glibc":  # for which Arrow is built with jemalloc
        # Before Arrow is: its default allocator returns memory to the system after 10 ms, in huge
        # pages, and batches of rows wait longer than this before they are used. The system would
        # fill the same pages with zeros again, for a sixth of the processor time of a job.
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
    if sys.stdout is None:  # closed by whoever started this, as by >&-
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the end
        note("warning: standard output is closed: nothing is printed there")
    try:
        with _catch_signals():
            code = get_command(app).main(
                args=sys.argv[1:] if arguments is None else list(arguments),
                prog_name=_NAME,
                standalone_mode=False,
            )
            sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        return _leave_broken_pipe()
    except Exception as error:  # noqa: BLE001 - here every error becomes an exit code
        return _report_error(error)
    if code == INTERRUPTED:
        note("interrupted")
    return code if isinstance(code, int) else DONE


def _report_error(error: Exception) -> int:
    if isinstance(error, USAGE_ERROR) and type(error).__name__ == "NoArgsIsHelpError":
        return MISTAKE  # the help has been shown
    code = exit_code(error)
    if code is None:
        traceback.print_exception(error)
        note(f"error: internal error of {_NAME}: {_format_error(error)}; please report it")
        return FAULT
    note(f"error: {_format_error(error)}")
    return code


def _format_error(error: Exception) -> str:
    if isinstance(error, USAGE_ERROR):
        text = _format_usage_error(error)
    elif isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    else:
        text = str(error)
    line = " ".join(text.split()) or type(error).__name__
    # What a file holds may be quoted, and be as long as it likes; place and mend are at the ends.
    return line if len(line) <= _LONGEST_LINE else f"{line[:600]} ... {line[-400:]}"


def _format_usage_error(error: Any) -> str:
    command = error.ctx.command_path if error.ctx is not None else _NAME
    # The words before the message of a parser come from the library.
    message = error.format_message().rstrip(".").replace(": Value error, ", ": ", 1)
    return f"{message}; see {command} --help"


def _leave_broken_pipe() -> int:
    """End quietly when the reader of stdout has closed it, as ``head`` does."""
    # The interpreter flushes stdout when it ends, and would complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAULT


@contextmanager
def _catch_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind the stack as Ctrl-C does, so that incomplete work is cleaned up.

    An ignored signal stays ignored, such as SIGHUP under nohup.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, _raise_on_signal) for number in caught}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _raise_on_signal(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
