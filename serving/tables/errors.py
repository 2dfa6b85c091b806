"""Errors about files of rows.

Each message is one line with the file, the place in it, the value and the correction. Rows are
counted from 1, without the header; for text files the message also gives the line.
"""


class TableError(Exception):
    """Base of the errors of reading, scoring and writing files of rows."""


class UnreadableFile(TableError):
    """A file is missing, a folder, empty, damaged, or of an unsupported kind."""


class ColumnMismatch(TableError):
    """A column is missing, repeated, or not of a numeric type."""


class NoNumbers(ColumnMismatch):
    """All or most values of a column are not numbers.

    ``column`` is the name of the column.
    """

    def __init__(self, message: str, column: str) -> None:
        super().__init__(message)
        self.column = column


class OtherWidth(ColumnMismatch):
    """The vectors of a column have the wrong length.

    ``column`` is the name of the column.
    """

    def __init__(self, message: str, column: str) -> None:
        super().__init__(message)
        self.column = column


class BadCell(TableError):
    """A cell is not a number, or a row has more or fewer cells than the header.

    ``column`` is the column of the cell; empty for an error of the whole row. ``is_number`` is
    whether the cell is a number, which is out of range.
    """

    def __init__(self, message: str, column: str = "", *, is_number: bool = False) -> None:
        super().__init__(message)
        self.column = column
        self.is_number = is_number


class RepeatedInput(TableError):
    """A file is given twice, directly, by a folder or a glob, and would be read twice."""


class NoRows(TableError):
    """There are no rows, or each row has a missing value."""


class RefusedReadingOption(TableError):
    """A reading option of text files is invalid, alone or with another option."""


class UnusableCache(TableError):
    """A cache of rows cannot be written: the disk is full, or the folder is not writable."""


class DamagedCache(TableError):
    """A cache of rows is damaged."""


class ChangedInput(TableError):
    """A file of rows was changed while it was read."""
