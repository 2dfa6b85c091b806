"""The curves over k as a file: written by ``tfkmeans select-k``, shown in a report.

Imports no TensorFlow.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from export.json_text import parse_json

from .errors import InvalidCurves

if TYPE_CHECKING:
    from kmeans_module import MeasuredK

#: The measures of one k, in the order in which they are written.
MEASURES: Final = (
    "k",
    "inertia",
    "silhouette",
    "silhouette_error",
    "noise_silhouette",
    "noise_deviation",
    "stability",
    "recovery",
    "simplified_silhouette",
    "davies_bouldin",
    "calinski_harabasz",
)


def as_row(measured: "MeasuredK") -> dict[str, Any]:
    """One k for JSON."""
    return {name: getattr(measured, name) for name in MEASURES}


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line per k; an undefined measure is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, MEASURES, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def describe_sample(curves: Mapping[str, Any]) -> str | None:
    """The measures of a sample; None if all rows were measured."""
    sampled, rows = curves.get("sample_rows"), curves.get("rows_used")
    if not isinstance(sampled, int) or not isinstance(rows, int) or sampled >= rows:
        return None
    return (
        f"silhouette, noise, stability and recovery are those of a sample of {sampled:,} of "
        f"{rows:,} rows, about whose centroids the other measures are of all rows"
    )


def read(path: Path) -> dict[str, Any]:
    """Read the JSON file of ``select-k --out``. Raises InvalidCurves."""
    try:
        value = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidCurves(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:
        value = None
    rows = value.get("measured") if isinstance(value, dict) else None
    if not isinstance(rows, list) or not rows or not all(map(_is_row, rows)):
        raise InvalidCurves(
            f"{path}: holds no curves; give the .json file of tfkmeans select-k ... --out FILE"
        )
    found: dict[str, Any] = value
    return found


def _is_row(row: object) -> bool:
    return (
        isinstance(row, dict)
        and isinstance(row.get("k"), int)
        and all(isinstance(row.get(name), int | float | None) for name in MEASURES)
    )
