"""Write a fit for TensorBoard: a run for each start, and the centroids for its projector."""

import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from numpy.typing import NDArray

from kmeans_module.quiet_tensorflow import tf

from .errors import ReportNotWritten

if TYPE_CHECKING:
    from kmeans_module import FitResult, Progress

_EMBEDDING: Final = "centroids.tsv"
_METADATA: Final = "centroid_metadata.tsv"

#: Clusters whose sizes are drawn one by one; the histogram has all.
_MOST_SIZES: Final = 50

_CONFIG: Final = f"""embeddings {{
  tensor_name: "centroids"
  tensor_path: "{_EMBEDDING}"
  metadata_path: "{_METADATA}"
}}
"""


class TensorBoardLog:
    """A log folder for TensorBoard, created at the start of a fit; a context for the fit.

    ``start_1``, ``start_2``, ... are its runs: for each iteration the scalars ``inertia`` and
    ``shift``, and the scalars ``cluster_size/0``, ``cluster_size/1``, ... and their histogram.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[int, Any] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def write_iteration(self, now: "Progress") -> None:
        """Write one iteration, from ``on_iteration`` of a fit. Raises ReportNotWritten."""
        if now.start not in self._writers:
            self._writers[now.start] = self._writer(self._folder / f"start_{now.start}")
        with self._writers[now.start].as_default(step=now.iteration):
            tf.summary.scalar("inertia", now.inertia)
            tf.summary.scalar("shift", now.shift)
            tf.summary.histogram("cluster_sizes", now.cluster_sizes)
            for cluster, size in enumerate(now.cluster_sizes[:_MOST_SIZES]):
                tf.summary.scalar(f"cluster_size/{cluster}", size)

    def _writer(self, run: Path) -> Any:
        try:
            run.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ReportNotWritten(
                f"{run}: cannot be made: {error.strerror}; name another folder"
            ) from error
        writer = tf.summary.create_file_writer(str(run))
        self._open.callback(writer.close)
        return writer

    def write_centroids(
        self, result: "FitResult", feature_names: Sequence[str], sizes: Sequence[int]
    ) -> None:
        """Write the centroids of the best start for the projector.

        They are in the model's space, where distances count; the metadata has each cluster's
        number, its rows, and its centroid in raw units. Raises ReportNotWritten.

        Args:
            result: a fit.
            feature_names: of its d features.
            sizes: how many rows each cluster has: the fit of a stream does not keep them.
        """
        names = [re.sub(r"\s", " ", name) for name in feature_names]
        lines = ["\t".join(["cluster", "rows", *names])]
        lines += [
            "\t".join([str(cluster), str(size), *map(_cell, centroid)])
            for cluster, (size, centroid) in enumerate(zip(sizes, result.centroids, strict=True))
        ]
        places: NDArray[Any] = result.module.centroids.numpy()
        try:
            _write(self._folder / _METADATA, lines)
            _write(self._folder / _EMBEDDING, ["\t".join(map(_cell, row)) for row in places])
            (self._folder / "projector_config.pbtxt").write_text(_CONFIG, encoding="utf-8")
        except OSError as error:
            raise ReportNotWritten(
                f"{self._folder}: cannot be written: {error.strerror}; name another folder"
            ) from error


def _cell(value: float) -> str:
    return repr(float(value))


def _write(path: Path, lines: Sequence[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
