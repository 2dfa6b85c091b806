"""Rows of the training data inside a version, for comparisons with other versions.

The file is ``assets.extra/sample_rows.npy``, float32 [n, d], raw units. For a model that takes
columns by name, the version also has the columns before their encoding. Imports no TensorFlow.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kmeans_module.columns import Column
from kmeans_module.errors import InvalidColumns

from .array_files import InvalidArray, read_npy, read_npz
from .column_rows import ColumnRows
from .errors import InvalidCandidate
from .model_card import ModelCard

#: Where the rows lie, relative to their version directory.
SAMPLE_FILE: Final = Path("assets.extra", "sample_rows.npy")

#: Where the same rows lie as columns, of a model that takes columns by name: an array a column
#: under the key ``column/<name>``.
COLUMNS_FILE: Final = Path("assets.extra", "sample_columns.npz")

_PREFIX: Final = "column/"

_MOST_ROWS: Final = 4096
_MOST_NUMBERS: Final = 2**20  # 4 MiB of float32


def most_rows(n_features: int) -> int:
    """The most rows that a version contains, for its number of features."""
    return max(1, min(_MOST_ROWS, _MOST_NUMBERS // n_features))


def write(
    version_directory: Path,
    points: NDArray[Any],
    *,
    seed: int,
    columns: ColumnRows | None = None,
) -> None:
    """Write rows drawn from ``points`` ([n, d], n > 0) by ``seed``. Raises OSError.

    With ``columns``, the same rows of the columns that the model takes by name.
    """
    rows = draw_rows(len(points), most_rows(points.shape[1]), np.random.default_rng(seed))
    path = version_directory / SAMPLE_FILE
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        np.save(file, points[rows].astype(np.float32), allow_pickle=False)
    if columns is not None:
        write_columns(version_directory / COLUMNS_FILE, columns.take(rows))


def write_columns(path: Path, rows: ColumnRows) -> None:
    """Write rows of columns into a file that ``read_columns`` reads. Raises OSError."""
    arrays: dict[str, Any] = {_PREFIX + name: array for name, array in rows.tensors.items()}
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def draw(points: NDArray[Any], most: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Rows drawn from ``points`` ([n, d]) without repetition, in their order; all when few."""
    return points[draw_rows(len(points), most, rng)].astype(np.float32)


def draw_rows(n: int, most: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Which of n rows are drawn: int [m], in their order; all when few."""
    if n <= most:
        return np.arange(n)
    return np.sort(rng.choice(n, most, replace=False))


def are_left_out(card: ModelCard) -> bool:
    """Whether a version was written without such rows: its card has no hash of them."""
    return bool(card.files_sha256) and SAMPLE_FILE.as_posix() not in card.files_sha256


def read(version_directory: Path) -> NDArray[np.float32]:
    """The rows of a version. Raises InvalidCandidate if it has none."""
    path = version_directory / SAMPLE_FILE
    try:
        rows = read_npy(path)
    except FileNotFoundError:
        raise InvalidCandidate(
            f"{version_directory}: no rows to compare on in {SAMPLE_FILE}; give rows with --holdout"
        ) from None
    except (OSError, InvalidArray) as error:
        raise InvalidCandidate(f"{path}: the rows are unreadable: {error}") from None
    if rows.ndim != 2 or rows.dtype != np.float32:
        raise InvalidCandidate(f"{path}: holds {rows.dtype} {rows.shape}, not rows of float32")
    return np.asarray(rows, np.float32)


def read_columns(place: Path, columns: Sequence[Column]) -> ColumnRows:
    """The rows of a version directory, or of a file, as these columns.

    Raises InvalidCandidate when there are none.
    """
    path = place / COLUMNS_FILE if place.is_dir() else place
    try:
        found = {key.removeprefix(_PREFIX): array for key, array in read_npz(path)}
    except FileNotFoundError:
        raise InvalidCandidate(
            f"{place}: no rows to compare on in {COLUMNS_FILE}; give rows with --holdout"
        ) from None
    except (OSError, InvalidArray) as error:
        raise InvalidCandidate(f"{path}: the rows are unreadable: {error}") from None
    try:
        return ColumnRows.read(columns, found)
    except InvalidColumns as error:
        raise InvalidCandidate(f"{path}: {error}") from None
