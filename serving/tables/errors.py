"""What can be wrong with files of rows.

Each message is one line that names the file, the place in it, the value and the mend. Rows are
counted from 1, without the header; where a file has lines, the line is named too.
"""


class TableError(Exception):
    """Base of every error about rows in files: of reading them, of scoring them, of writing."""


class UnreadableFile(TableError):
    """A file is missing, is a folder, is empty or damaged, or is of a kind that is not read."""


class ColumnMismatch(TableError):
    """A column is not there, is there twice, or is of a type that holds no numbers."""


class NoNumbers(ColumnMismatch):
    """A column holds what is no numbers, in each of its rows or most.

    ``column`` is its name.
    """

    def __init__(self, message: str, column: str) -> None:
        super().__init__(message)
        self.column = column


class OtherWidth(ColumnMismatch):
    """The vectors of a column have another length than is needed.

    ``column`` is its name.
    """

    def __init__(self, message: str, column: str) -> None:
        super().__init__(message)
        self.column = column


class BadCell(TableError):
    """A cell holds what is not a number, or a row has more or fewer cells than the header.

    ``column`` is that of the cell; empty where the row as a whole is wrong.
    """

    def __init__(self, message: str, column: str = "") -> None:
        super().__init__(message)
        self.column = column


class RepeatedInput(TableError):
    """A file is given twice, by itself, a folder or a glob, and its rows would be read twice."""


class NoRows(TableError):
    """There are no rows, or each has a missing value."""


class RefusedReadingOption(TableError):
    """An option of reading a file of text makes no sense, alone or beside another."""


class UnusableCache(TableError):
    """A cache of rows cannot be written: the disk is full, the folder is not to be written to."""


class DamagedCache(TableError):
    """A cache of rows is not as it was written."""


class ChangedInput(TableError):
    """A file of rows was changed while it was read."""
