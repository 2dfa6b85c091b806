"""Exit codes of the command, and the errors that lead to them.

===  ==========================================================================
0    done
1    internal error of this program or of the server
2    usage error, or server unreachable
3    check failed: a version did not pass its validation, a server did not take a change
130  interrupted by Ctrl-C
143  another worker was lost (or SIGTERM ended this one): restart all workers
===  ==========================================================================

An expected error is one line; only an internal error of this program shows a traceback.
"""

from typing import Final

import typer

from export.errors import ExportError, MoveFailed, PublishRefused
from kmeans_module.errors import KMeansError, WorkerLost
from serving.embedded.errors import ServerStartError
from serving.errors import ServerError, ServingError
from serving.report.errors import ReportError
from serving.tables.errors import TableError

from .errors import UserMistake

DONE: Final = 0
FAULT: Final = 1
MISTAKE: Final = 2
REFUSED: Final = 3
INTERRUPTED: Final = 130
LOST: Final = 143

#: typer's own complaint about the arguments; it has no public name, but its subclass has.
USAGE_ERROR: Final = typer.BadParameter.__mro__[1]

# The first class that fits decides.
_CODES: Final[tuple[tuple[type[BaseException], int], ...]] = (
    (PublishRefused, REFUSED),
    (MoveFailed, REFUSED),
    (ServerError, FAULT),
    (UserMistake, MISTAKE),
    (USAGE_ERROR, MISTAKE),
    (TableError, MISTAKE),
    (ExportError, MISTAKE),
    (KMeansError, MISTAKE),
    (WorkerLost, LOST),
    (ReportError, MISTAKE),
    (ServerStartError, MISTAKE),
    (ServingError, MISTAKE),
    (OSError, MISTAKE),
)


def exit_code(error: BaseException) -> int | None:
    """The exit code of an expected error; None for an internal error of this program."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), None)
