"""What can be wrong with the files that are read and written.

::

    BatchError(Exception)
     ├── UnreadableFile     missing, a folder, empty, damaged, of an unknown kind
     ├── ColumnMismatch     a column that is not there, is there twice or holds no numbers
     ├── BadCell            one cell that is not a number a model can take
     ├── BadRow             a row cannot be scored, and the job was told to stop at the first
     ├── NoAnswer           the server is not there, or has not answered in time
     ├── OtherModel         the server does not answer as the model of the card does
     ├── RefusedOption      Apache Beam does not take an option of its pipeline
     ├── RepeatedInput      a file is given twice
     ├── NoRows             nothing is left to work on
     └── OutputNotWritten   the output exists, or the disk does not take it
          ├── OutputInUse     another run is writing there
          ├── OtherJob        what lies there was begun with another model, inputs or flags
          └── DamagedJob      what lies there cannot tell which job it was begun as

Each message is one line that names the file, the place in it, the value and the mend. Rows are
counted from 1, without the header; where a file has lines, the line is named too.
"""


class BatchError(Exception):
    """Base of every error that this package raises for what comes from outside."""


class UnreadableFile(BatchError):
    """A file is missing, is a folder, is empty or damaged, or is of a kind that is not read."""


class ColumnMismatch(BatchError):
    """A column is not there, is there twice, or is of a type that holds no numbers."""


class BadCell(BatchError):
    """A cell holds what is not a number, or a row has more or fewer cells than the header."""


class BadRow(BatchError):
    """A row cannot be scored, and the job was told to stop at the first."""


class NoAnswer(BatchError):
    """A server is not there, or does not answer for longer than patience lasts."""


class OtherModel(BatchError):
    """A server has not the version of the card, or does not answer as that version does."""


class RefusedOption(BatchError):
    """Apache Beam does not take an option of its pipeline, as a runner that it does not know."""


class RepeatedInput(BatchError):
    """A file is given twice, by itself, a folder or a glob, and its rows would be scored twice."""


class NoRows(BatchError):
    """There are no rows, or each has a missing value."""


class OutputNotWritten(BatchError):
    """The output exists already, is of an unknown kind, or cannot be written where it was asked."""


class OutputInUse(OutputNotWritten):
    """Another run is writing to the output folder."""


class OtherJob(OutputNotWritten):
    """The output folder holds a job with another model, other inputs or other flags."""


class DamagedJob(OutputNotWritten):
    """The note of the job that the output folder holds is damaged."""
