"""Files of rows, written by means that the readers do not share."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.batch.table import Table


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def read_all(table: Table, columns: Sequence[str]) -> NDArray[np.float64]:
    blocks = [np.empty((0, len(columns))), *table.blocks(columns)]
    return np.concatenate(blocks).astype(np.float64)
