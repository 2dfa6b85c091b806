"""Options of the format of text files: delimiters, number formats, and the beginning."""

from dataclasses import dataclass
from typing import Final

from .errors import RefusedReadingOption

#: The delimiters to try if the name of the file does not determine one; on ties the first.
DELIMITERS: Final = (",", ";", "\t", "|")

_NEVER: Final = '"\r\n'


@dataclass(frozen=True)
class ReadingOptions:
    """The options for reading CSV and similar files; typed files do not use them.

    Attributes:
        delimiter: the delimiter of cells; None is a comma in ``.csv``, a tab in ``.tsv``, and in
            ``.txt`` the delimiter of the header.
        decimal: the decimal mark.
        thousands: the thousands separator; None for none.
        has_header: whether the first line names the columns.
        comment: the beginning of a comment, which ends at the end of its line; None for none.
        skip_rows: the number of lines to skip before the header, or before the first row.
        na_values: cells that are missing values, besides ``columns.MISSING_TEXTS``; a number
            matches in any spelling.
    """

    delimiter: str | None = None
    decimal: str = "."
    thousands: str | None = None
    has_header: bool = True
    comment: str | None = None
    skip_rows: int = 0
    na_values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the options. Raises RefusedReadingOption."""
        _require_mark("--delimiter", self.delimiter, must_be_ascii=True)
        _require_mark("--decimal", self.decimal, must_be_ascii=True)
        _require_mark("--thousands", self.thousands)
        _require_mark("--comment", self.comment, must_be_ascii=True)
        for flag, mark in (("--decimal", self.decimal), ("--thousands", self.thousands)):
            if mark is not None and (mark.isalnum() or mark in "+-"):
                raise RefusedReadingOption(f"{flag} {mark}: is part of a number; give another mark")
        if self.thousands == self.decimal:
            raise RefusedReadingOption(
                f"--thousands {self.thousands}: is also the decimal mark; give another --decimal"
            )
        if self.comment is not None and self.comment == self.delimiter:
            raise RefusedReadingOption(
                f"--comment {self.comment}: is also the delimiter; give another character"
            )
        if self.skip_rows < 0:
            raise RefusedReadingOption(f"--skip-rows {self.skip_rows}: give 0 or more")

    def flags(self) -> dict[str, str | int | bool | None]:
        """Return the options by their names on the command line; None or False if not given."""
        return {
            "--delimiter": self.delimiter,
            "--decimal": None if self.decimal == "." else self.decimal,
            "--thousands": self.thousands,
            "--no-header": not self.has_header,
            "--comment": self.comment,
            "--skip-rows": self.skip_rows or None,
            "--na-values": ",".join(self.na_values) or None,
        }


def _require_mark(flag: str, mark: str | None, *, must_be_ascii: bool = False) -> None:
    if mark is None:
        return
    if len(mark) != 1 or mark in _NEVER or (must_be_ascii and not mark.isascii()):
        kind = "one ASCII character" if must_be_ascii else "one character"
        raise RefusedReadingOption(f"{flag} {mark!r}: give {kind}, not a quote or a line end")
