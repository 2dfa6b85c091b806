"""Which columns of a table the model takes, and which it does not."""

from collections.abc import Iterable, Sequence

from .errors import ColumnMismatch
from .table import Table, require_columns


def model_columns(table: Table, feature_names: Sequence[str]) -> tuple[str, ...]:
    """The columns of ``table`` that the model takes, in the order that it takes them.

    By name; a table without names of its own is also taken by place, when its width is the model's.
    Raises ColumnMismatch.
    """
    if set(feature_names) <= set(table.columns) or table.named:
        require_columns(table, feature_names)
        return tuple(feature_names)
    if len(table.columns) != len(feature_names):
        raise ColumnMismatch(
            f"{table.name}: has {len(table.columns)} columns, and the model takes "
            f"{len(feature_names)}: {', '.join(feature_names)}"
        )
    return table.columns


def extra_columns(tables: Iterable[Table], used: Sequence[str]) -> tuple[str, ...]:
    """The names of the columns that are not used, each once."""
    taken = set(used)
    return tuple(
        dict.fromkeys(
            column
            for table in tables
            if table.named
            for column in table.columns
            if column not in taken
        )
    )
