"""What the command's exit codes mean, and which error leads to which.

===  ==========================================================================
0    done
1    a fault of this program or of the server
2    a mistake of the user, or nothing answers
3    it ran and the answer is no: a version did not pass its validation, a server did not follow
130  interrupted by Ctrl-C
143  another worker was lost (or SIGTERM ended this one): start all again
===  ==========================================================================

An error that is expected is one line; only a fault of this program shows a traceback.
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
    """The exit code of an error that is expected; None when it is a fault of this program."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), None)
