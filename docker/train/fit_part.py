"""Fit the rows of one file on several machines, each of which reads a part; worker 0 publishes.

    python fit_part.py ROWS.npy CLUSTERS BASE

The same on each, with TF_CONFIG as docs/distributed.md says. All see the file; worker 0 writes the
model, and beside it the folder of the checkpoint, BASE.checkpoint.
"""

import sys

import numpy as np
from tfkmeans import RowSource, WorkerLost, connect_workers, fit, publish_fit, whole_source

#: The exit code where a worker was lost: whoever started the workers starts them again.
LOST = 143


def main(rows: str, clusters: str, base: str) -> None:
    """Fit and publish."""
    with connect_workers(start_timeout=300) as reducer:
        # Mapped, so that a worker reads its own part alone.
        points = np.load(rows, mmap_mode="r")
        ends = [len(points) * number // reducer.workers for number in range(reducer.workers + 1)]
        source = RowSource.from_array(points[ends[reducer.worker] : ends[reducer.worker + 1]])
        result = fit(source, int(clusters), checkpoint=f"{base}.checkpoint", reducer=reducer)
        with whole_source(source, reducer) as every_row:
            if every_row is not None:
                names = [f"feature_{number}" for number in range(points.shape[1])]
                published = publish_fit(result, every_row, base, feature_names=names)
                print(f"published {published}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except WorkerLost as error:
        print(error, file=sys.stderr)
        sys.exit(LOST)
