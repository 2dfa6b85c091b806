"""The rows that a model is fitted to, where they are read from a cache again and again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kmeans_module.row_source import RowSource

from .errors import NoRows
from .kept_rows import KeptRows
from .row_cache import RowCache, require_rows
from .training_rows import ONLY_ZEROS, ClusteredRows


@dataclass(frozen=True, eq=False)
class StreamedRows(ClusteredRows):
    """Rows that need not fit memory, ready for a fit.

    Attributes:
        source: of the rows [n, d], float32, finite, and of what each weighs.
        sample: float32 [m, d], some of the rows, drawn uniformly.
        sample_weights: float32 [m].
        rounded: the features that lost digits when they were rounded to float32.
        feature_weight: what each feature weighs, d numbers; None where each weighs 1.
    """

    columns: tuple[str, ...]
    source: RowSource
    sample: NDArray[np.float32]
    sample_weights: NDArray[np.float32]
    rows_read: int
    missing: Mapping[str, int]
    zero_rows: int
    rounded: tuple[str, ...]
    weight_column: str | None
    feature_weight: Sequence[float] | None = None

    @property
    def n_rows(self) -> int:
        return len(self.source)

    @property
    def fit_points(self) -> RowSource:
        """The rows as a fit takes them."""
        return self.source

    @property
    def fit_weights(self) -> None:
        """What a fit takes beside them: a source has weights of its own."""

    def features_beyond_float32(self) -> tuple[str, ...]:
        return self.rounded


def stream_rows(cache: RowCache, *, skip_zero_rows: bool = False) -> StreamedRows:
    """The rows of a cache that lack nothing.

    Where some may lack a number, or rows of zeros are to be left out, all are read once to find
    them.

    Args:
        cache: open.
        skip_zero_rows: whether to leave out rows of zeros alone, too.

    Raises:
        NoRows: there is none.
        UnreadableRows: the cache cannot be read.
    """
    header, source, zero_rows = cache.header, cache.source, 0
    is_used = ~np.isnan(cache.sample).any(axis=1)
    if skip_zero_rows or not header.is_complete:
        kept = KeptRows.find(source, skip_zero_rows=skip_zero_rows)
        source, zero_rows = kept, kept.zero_rows
        is_used &= cache.sample.any(axis=1) | (not skip_zero_rows)
        files = ", ".join(each[0] for each in header.inputs)
        require_rows(files, len(kept) + zero_rows, header.rows_read, header.missing)
        if not len(kept):
            raise NoRows(f"{files}: {ONLY_ZEROS}")
    return StreamedRows(
        columns=header.feature_names,
        source=source,
        sample=cache.sample[is_used],
        sample_weights=cache.sample_weights[is_used],
        rows_read=header.rows_read,
        missing=header.missing,
        zero_rows=zero_rows,
        rounded=tuple(header.rounded),
        weight_column=header.weight_column,
    )
