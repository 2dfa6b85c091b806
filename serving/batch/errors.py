"""Errors of jobs of batch scoring, besides those of input files.

Each message is one line that names the place, the value and the correction. ``TableError`` is the
base of all errors of the inputs, the server and the output of a job.
"""

from ..tables.errors import TableError


class JobError(TableError):
    """Base of the errors of a job that are not about the files that it reads."""


class BadRow(JobError):
    """A row cannot be scored, and the job stops at the first such row."""


class NoAnswer(JobError):
    """A server is not there, or does not answer for longer than patience lasts."""


class OtherModel(JobError):
    """A server lacks the version of the card, or does not answer as that version does."""


class RefusedOption(JobError):
    """Apache Beam does not take an option of its pipeline, as a runner that it does not know."""


class OutputNotWritten(JobError):
    """The output exists already, has an unknown type, or cannot be written."""


class OutputInUse(OutputNotWritten):
    """Another run is writing to the output folder."""


class OtherJob(OutputNotWritten):
    """The output folder holds a job with another model, other inputs or other flags."""


class DamagedJob(OutputNotWritten):
    """The note of the job that the output folder holds is damaged."""
