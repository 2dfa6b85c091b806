"""Files of rows, written by means that the readers do not share."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.tables.table import Table


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def write_tfrecord(path: Path, rows: list[Any], compression: str = "") -> Path:
    """Examples of dictionaries; bytes are written as they are."""
    import tensorflow as tf

    def feature(value: Any) -> Any:
        values = value if isinstance(value, list) else [value]
        if isinstance(values[0], bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        if isinstance(values[0], float):
            return tf.train.Feature(float_list=tf.train.FloatList(value=values))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for row in rows:
            if isinstance(row, dict):
                features = {name: feature(value) for name, value in row.items()}
                example = tf.train.Example(features=tf.train.Features(feature=features))
                row = example.SerializeToString()  # noqa: PLW2901
            writer.write(row)
    return path


def read_all(table: Table, columns: Sequence[str]) -> NDArray[np.float64]:
    blocks = list(table.blocks(columns))
    return np.concatenate(blocks or [np.empty((0, len(columns)))]).astype(np.float64)
