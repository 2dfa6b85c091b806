"""Rows of the training data that travel with a version, to compare it with others on.

They lie in the version as ``assets.extra/sample_rows.npy``, float32 [n, d], raw units. Imports no
TensorFlow.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .array_files import InvalidArray, read_npy
from .errors import InvalidCandidate

#: Where the rows lie, relative to their version directory.
SAMPLE_FILE: Final = Path("assets.extra", "sample_rows.npy")

_MOST_ROWS: Final = 4096
_MOST_NUMBERS: Final = 2**20  # 4 MiB of float32


def write(version_directory: Path, points: NDArray[Any], *, seed: int) -> None:
    """Write rows drawn from ``points`` ([n, d], n > 0) by ``seed``. Raises OSError."""
    most = max(1, min(_MOST_ROWS, _MOST_NUMBERS // points.shape[1]))
    rows = draw(points, most, np.random.default_rng(seed))
    path = version_directory / SAMPLE_FILE
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        np.save(file, rows, allow_pickle=False)


def draw(points: NDArray[Any], most: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Rows drawn from ``points`` ([n, d]) without repetition, in their order; all when few."""
    if len(points) > most:
        points = points[np.sort(rng.choice(len(points), most, replace=False))]
    return points.astype(np.float32)


def read(version_directory: Path) -> NDArray[np.float32]:
    """The rows of a version. Raises InvalidCandidate when there are none."""
    path = version_directory / SAMPLE_FILE
    try:
        rows = read_npy(path)
    except FileNotFoundError:
        raise InvalidCandidate(
            f"{version_directory}: no rows to compare on at {SAMPLE_FILE}; give some by --holdout"
        ) from None
    except (OSError, InvalidArray) as error:
        raise InvalidCandidate(f"{path}: no rows can be read: {error}") from None
    if rows.ndim != 2 or rows.dtype != np.float32:
        raise InvalidCandidate(f"{path}: holds {rows.dtype} {rows.shape}, not rows of float32")
    return np.asarray(rows, np.float32)
