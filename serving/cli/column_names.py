"""Names of columns as a user gives them."""

import csv

from .errors import UserMistake


def parse_column_names(flag: str, given: str) -> tuple[str, ...]:
    """The names: one line of CSV, so that a name may hold a comma in quotes. Raises UserMistake."""
    names = [name.strip() for name in next(csv.reader([given], skipinitialspace=True), [])]
    if not names or "" in names:
        raise UserMistake(f"{flag} {given!r}: a name is empty; give names as in a,b")
    for name in names:
        if names.count(name) > 1:
            raise UserMistake(f"{flag} {given}: {name!r} is named twice; name it once")
    return tuple(names)
