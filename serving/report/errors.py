"""The errors of reports.

Each message is one line that names the file, the value and the correction.
"""


class ReportError(Exception):
    """Base of every error of this package for invalid input."""


class InvalidCurves(ReportError):
    """A file contains no curves over k."""


class NotComparable(ReportError):
    """Two versions take different columns, or no row has an answer of both."""


class ReportNotWritten(ReportError):
    """The page cannot be written."""


class NoRowsToShow(ReportError):
    """No row can be shown in a report, because the model gives none of them a cluster."""
