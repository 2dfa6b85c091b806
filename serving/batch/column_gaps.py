"""Counts, by column, of the values that a model has no value for: unknown, missing or filled.

Of a category ``unknown`` counts values that are none of the model's, and ``missing`` those that are
not there; of a number that the model fills, ``filled`` counts those that it has filled. Others that
are missing make a row that cannot be scored.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kmeans_module.columns import CategoryColumn, Column, NumberColumn

from ..tables.model_rows import Inputs

#: By the column, and there by what is counted.
Gaps = Mapping[str, Mapping[str, int]]

#: Columns that a line names at most.
_MOST_SHOWN: Final = 10


def count_gaps(columns: Sequence[Column], inputs: Inputs, is_scored: NDArray[np.bool_]) -> Gaps:
    """Count what a model has no value for in n rows, of those that it has scored.

    Args:
        columns: those of the model.
        inputs: the rows, as the model was asked; of points nothing is counted.
        is_scored: [n].
    """
    if not isinstance(inputs, Mapping):
        return {}
    found: dict[str, Mapping[str, int]] = {}
    for column in columns:
        if isinstance(column, CategoryColumn):
            codes, texts = _number_texts(inputs[column.name])
            known = {*column.values}
            # A code of -1 is the last.
            is_unknown = np.array([*(bool(text) and text not in known for text in texts), False])
            is_missing = np.array([*(not text for text in texts), True])
            scored = codes[is_scored]
            found[column.name] = {
                "unknown": int(np.count_nonzero(is_unknown[scored])),
                "missing": int(np.count_nonzero(is_missing[scored])),
            }
        elif isinstance(column, NumberColumn) and column.fill is not None:
            filled = np.isnan(inputs[column.name]) & is_scored
            found[column.name] = {"filled": int(np.count_nonzero(filled))}
    return found


def add_gaps(first: Gaps, second: Gaps) -> Gaps:
    """The counts of the rows of both."""
    return {
        name: {
            what: first.get(name, {}).get(what, 0) + second.get(name, {}).get(what, 0)
            for what in (first.get(name) or second[name])
        }
        for name in {**first, **second}
    }


def describe_gaps(gaps: Gaps, rows: int) -> str:
    """A line that names the columns with such values, of all ``rows`` that were scored.

    As in "region: 300 of 300 values unknown"; empty where there are none.
    """
    said = []
    for name, counts in sorted(gaps.items(), key=lambda each: -max(each[1].values())):
        shown = [f"{count:,} of {rows:,} values {what}" for what, count in counts.items() if count]
        if shown:
            said.append(f"{name if name.isprintable() else repr(name)}: {', '.join(shown)}")
    more = len(said) - _MOST_SHOWN
    rest = f"; and {more:,} more columns" if more > 0 else ""
    return "; ".join(said[:_MOST_SHOWN]) + rest


def _number_texts(values: Any) -> tuple[NDArray[np.integer[Any]], Sequence[str]]:
    """Return the index of each row's text among the distinct texts, -1 for null; and these."""
    if isinstance(values, np.ndarray):
        texts, codes = np.unique(values.astype(str), return_inverse=True)
        return codes, texts.tolist()
    return values.indices.fill_null(-1).to_numpy(), values.dictionary.to_pylist()
