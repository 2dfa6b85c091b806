"""The rows of a table as the columns of a model: numbers, vectors and categories.

The table defines missing numbers and vectors. In a category only empty texts and null are missing,
because ``NA`` may be Namibia. Values of ``--na-values`` are missing in every column.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from export.feature_names import shorten_names
from kmeans_module.columns import CategoryColumn, Column, NumberColumn

from .columns import require_columns, select_model_columns, to_float32
from .errors import ColumnMismatch
from .table import Chunk, Table

if TYPE_CHECKING:
    import pyarrow as pa


#: Numbers per encoded block.
_BLOCK_NUMBERS: Final = 2**18


@dataclass(frozen=True, eq=False)
class CategoryCells:
    """The values of a category in n rows.

    Attributes:
        codes: int32 [n], the index of the value of each row in ``values``; -1 if missing.
        values: the distinct nonempty texts of these rows, in any order.
    """

    codes: NDArray[np.int32]
    values: tuple[str, ...]

    def texts(self) -> NDArray[np.object_]:
        """Return the values as texts [n] for an encoder; the empty text is a missing value."""
        # A code of -1 selects the last.
        return np.array([*self.values, ""], object)[self.codes]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: "slice | NDArray[Any]") -> "CategoryCells":
        """Return the values in these rows."""
        return CategoryCells(self.codes[rows], self.values)

    def encoded(self) -> NDArray[np.bytes_]:
        """Return the values in UTF-8, bytes [n]; b"" is a missing value."""
        return np.array([*(value.encode() for value in self.values), b""])[self.codes]

    def to_arrow(self) -> "pa.Array[Any]":
        """Return the values as a dictionary array; null is a missing value."""
        import pyarrow as pa

        codes: Any = pa.array(self.codes, mask=self.codes < 0)
        return pa.DictionaryArray.from_arrays(codes, pa.array(self.values, pa.string()))


class RawRows:
    """The rows of a table, read as the columns of a model.

    A chunk is a chunk of the table: its ``points`` are the numbers and vectors, and its ``kept``
    has the categories before the other kept columns. So it can be sliced and joined like any chunk;
    ``arrays`` returns the columns of the model, and ``kept`` the requested kept columns.

    Attributes:
        table: the table, with the vector widths of the model.
        columns: the columns of the model, in its order.
    """

    def __init__(self, table: Table, columns: Sequence[Column], keep: Sequence[str] = ()) -> None:
        """Find the columns of a model in a table.

        Args:
            table: columns are matched by name; a vector may have a column for each of its numbers.
                In a table without names they are matched by position, if none is a category.
            columns: the columns of the model.
            keep: the names of columns to keep.

        Raises:
            ColumnMismatch: the table lacks a column, or has other kinds of values in it.
        """
        self.columns = tuple(columns)
        self._keep = tuple(keep)
        self._categories = tuple(
            column.name for column in columns if isinstance(column, CategoryColumn)
        )
        features = [
            name
            for column in columns
            if not isinstance(column, CategoryColumn)
            for name in column.feature_names
        ]
        if self._categories and not table.has_names and not set(self._names()) <= {*table.columns}:
            raise ColumnMismatch(
                f"{table.name}: its columns have no names, and the model takes the "
                f"{'categories' if len(self._categories) > 1 else 'category'} "
                f"{shorten_names(self._categories)} by name; give a file with column names"
            )
        require_columns(table, [*self._categories, *keep])
        widths = select_model_columns(table, features) if features else {}
        self._numbers = tuple(widths)
        self.table = table.with_widths(widths).with_categories(self._categories)
        _require_categories(self.table, self._categories)

    @property
    def used(self) -> tuple[str, ...]:
        """The columns of the table that the model takes."""
        return (*self._numbers, *self._categories)

    def check(self) -> None:
        """Check the kinds of the columns for the model, without reading all rows.

        Raises ColumnMismatch.
        """
        self.table.check(self._numbers, self._carried)

    def chunks(self, start: int = 0) -> Iterator[Chunk]:
        """Yield the rows in order, without the first ``start``; errors are those of the table."""
        return self.table.chunks(self._numbers, self._carried, start)

    def values(self, chunk: Chunk) -> "list[NDArray[np.float32] | CategoryCells]":
        """Return the columns of the model in a chunk of ``chunks``, in its order.

        Numbers are float32 [n] and vectors float32 [n, w], with NaN for missing values; categories
        are codes.
        """
        found: list[NDArray[np.float32] | CategoryCells] = []
        points, start = to_float32(chunk.points), 0
        for column in self.columns:
            if isinstance(column, CategoryColumn):
                assert chunk.kept is not None
                found.append(read_category(self.table, column, chunk.kept.column(column.name)))
                continue
            stop = start + len(column.feature_names)
            is_vector = len(column.tensor.shape) == 2
            found.append(points[:, start:stop] if is_vector else points[:, start])
            start = stop
        return found

    def arrays(self, chunk: Chunk) -> list[NDArray[Any]]:
        """Return the columns of the model in a chunk of ``chunks``, as inputs of its encoder."""
        return [
            each.texts() if isinstance(each, CategoryCells) else each for each in self.values(chunk)
        ]

    def named(self, chunk: Chunk) -> dict[str, NDArray[Any]]:
        """Return ``arrays`` by the names of the columns, for clients."""
        names = self._names()
        return dict(zip(names, self.arrays(chunk), strict=True))

    def kept(self, chunk: Chunk) -> "pa.RecordBatch | None":
        """Return the kept columns of a chunk of ``chunks``; None if there are none."""
        if not self._keep:
            return None
        assert chunk.kept is not None
        return chunk.kept.select(list(self._keep)) if self._categories else chunk.kept

    def no_rows(self) -> Chunk:
        """Return a chunk like those of ``chunks``, without rows."""
        width = sum(
            len(each.feature_names) for each in self.columns if not isinstance(each, CategoryColumn)
        )
        kept = None
        if self._carried:
            import pyarrow as pa

            schema = pa.schema(self.table.column_types(self._carried))
            kept = pa.RecordBatch.from_pylist([], schema=schema)
        return Chunk(np.empty((0, width), np.float32), kept)

    def kept_types(self) -> "Mapping[str, pa.DataType]":
        """Return the types of ``kept``."""
        return self.table.column_types(self._keep)

    @property
    def _carried(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*self._categories, *self._keep]))

    def _names(self) -> list[str]:
        return [column.name for column in self.columns]


def encode_values(
    columns: Sequence[Column], values: "Sequence[NDArray[np.float32] | CategoryCells]"
) -> NDArray[np.float32]:
    """Encode values of these columns as points, float32 [n, d], like their encoder."""
    n, d = len(values[0]), sum(len(each.feature_names) for each in columns)
    points = np.zeros((n, d), np.float32)
    # In blocks of all features that fit in a cache of the processor.
    rows = max(1, _BLOCK_NUMBERS // d)
    for begin in range(0, n, rows):
        block = slice(begin, begin + rows)
        _encode_into(points[block], columns, [each[block] for each in values])
    return points


def _encode_into(
    points: NDArray[np.float32],
    columns: Sequence[Column],
    values: "Sequence[NDArray[np.float32] | CategoryCells]",
) -> None:
    """Write the features of some rows to points that are 0."""
    start = 0
    for column, given in zip(columns, values, strict=True):
        part = points[:, start : start + len(column.feature_names)]
        start += part.shape[1]
        if isinstance(given, CategoryCells):
            assert isinstance(column, CategoryColumn)
            places = _feature_places(column, given)
            rows = np.flatnonzero(places >= 0)
            part[rows, places[rows]] = 1
        elif isinstance(column, NumberColumn):
            part[:, 0] = given
            if column.fill is not None:
                part[np.isnan(given), 0] = column.fill
        else:
            part[:] = given


def _feature_places(column: CategoryColumn, given: CategoryCells) -> NDArray[np.intp]:
    """Return the feature index of each value of a category: [n]; -1 for none."""
    place_of = {text: place for place, text in enumerate(column.values)}
    other = len(column.values) if column.has_unknown else -1
    places = np.array([*(place_of.get(text, other) for text in given.values), other], np.intp)
    return places[given.codes]


def read_category(table: Table, column: CategoryColumn, cells: "pa.Array[Any]") -> CategoryCells:
    """Read the values of a category from kept cells of the table."""
    import pyarrow as pa
    import pyarrow.types as pt

    if pt.is_float16(cells.type) or pt.is_null(
        cells.type
    ):  # Arrow does not support dictionaries of these
        cells = cells.cast(pa.float32() if pt.is_float16(cells.type) else pa.string())
    encoded = cells.dictionary_encode()
    known = encoded.dictionary
    # By NumPy's types, so that float32 is spelled with its own digits; a day exists only as a type
    # of Python.
    is_day = pt.is_date(known.type)
    distinct = known.to_pylist() if is_day else known.to_numpy(zero_copy_only=False)
    texts = [table.spell(column, value) for value in distinct]
    values = tuple(dict.fromkeys(filter(None, texts)))
    places = {text: place for place, text in enumerate(values)} | {"": -1}
    code_of = np.array([*(places[text] for text in texts), -1], np.int32)
    return CategoryCells(code_of[encoded.indices.fill_null(-1).to_numpy()], values)


def _require_categories(table: Table, names: Sequence[str]) -> None:
    """Check that columns can be categories: texts, numbers, booleans or days.

    Raises ColumnMismatch.
    """
    if not names:
        return
    import pyarrow.types as pt

    may_be = (
        *(pt.is_string, pt.is_large_string, pt.is_string_view, pt.is_boolean, pt.is_null),
        *(pt.is_integer, pt.is_floating, pt.is_decimal, pt.is_date),
    )
    for name, kind in table.column_types(names).items():
        if not any(is_kind(kind) for is_kind in may_be):
            raise ColumnMismatch(
                f"{table.name}: column {name!r} holds {kind}, and a category holds texts, whole "
                "numbers or booleans; leave it out, or write it as text"
            )
