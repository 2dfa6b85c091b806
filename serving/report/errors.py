"""The errors of reports.

Each message is one line that names the file, the value and the correction.
"""


class ReportError(Exception):
    """Base of every error that this package raises for what comes from outside."""


class InvalidCurves(ReportError):
    """A file holds no curves over k."""


class NotComparable(ReportError):
    """Two versions take other columns, or there is no row that both answer."""


class ReportNotWritten(ReportError):
    """The page cannot be written where it was asked for."""


class NoRowsToShow(ReportError):
    """There is no row that a report can show: the model gives none of them a cluster."""
