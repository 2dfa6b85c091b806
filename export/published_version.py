"""A published version as an object of this process: NumPy in, NumPy out."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kmeans_module.array_input import read_features
from kmeans_module.contract import SIGNATURES, column_input
from kmeans_module.errors import InvalidPoints, NoArray
from kmeans_module.forks import check_not_forked
from kmeans_module.raw_columns import UnusedColumns, is_table, read_columns

from .errors import InvalidCandidate, VersionNotFound
from .model_card import ModelCard
from .results import Assignment, Centroids, Distances, Score
from .storage import open_storage

_R = TypeVar("_R", Assignment, Score, Distances, Centroids)


class PublishedVersion:
    """A version of a model, to be asked in this process; threads may share it.

    The methods answer as a server does. ``points`` are real numbers [n, d] in raw units, of
    whatever kind `kmeans_module.fit` takes; the columns of a data frame or an Arrow table are taken
    by the names of the card. A row with NaN, infinity or a missing value is answered with -1. Each
    raises InvalidPoints for rows of another width, InvalidCandidate when the version cannot be
    loaded, and ForkedProcess as `kmeans_module.fit` does.

    Attributes:
        directory: the place of the version, a folder or an address.
        version: its number.
        card: what it was trained on, how, and how well it fits.
        model: the SavedModel, loaded when it is first needed.

    Example:
        >>> from tfkmeans import load
        >>> customers = load("models/customers")
        >>> customers.version
        1
        >>> customers.assign([[20.0, 1.0], [60.0, 9.0]])
        Assignment(cluster_index=int32[2], distance=float32[2], version=1)
        >>> customers.decode([0]).centroid.shape
        (1, 2)
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = directory
        self.version = int(Path(directory).name)
        self._unused = UnusedColumns()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.directory)!r})"

    @cached_property
    def card(self) -> ModelCard:
        return ModelCard.read(self.directory)

    def assign(self, points: ArrayLike | Mapping[str, Any], /) -> Assignment:
        """The nearest cluster of each row, and the distance to it.

        Args:
            points: [n, d] in raw units, or a table of the columns that the model takes.

        Returns:
            ``cluster_index`` int32 [n], ``distance`` float32 [n], and the version.

        Raises:
            InvalidPoints: rows have another width than the model, or are no numbers.
            InvalidCandidate: the version cannot be loaded.
            ForkedProcess: TensorFlow ran in the process that this one was forked from.

        Example:
            >>> from tfkmeans import load
            >>> customers = load("models/customers")
            >>> customers.assign([[20.0, 1.0], [60.0, 9.0]])
            Assignment(cluster_index=int32[2], distance=float32[2], version=1)
        """
        return self._ask(Assignment, points)

    def score(self, points: ArrayLike | Mapping[str, Any], /) -> Score:
        """How well each row fits its cluster.

        Args:
            points: [n, d] in raw units, or a table of the columns that the model takes.

        Returns:
            ``squared_distance`` and simplified ``silhouette``, float32 [n].

        Raises:
            InvalidPoints: rows have another width than the model, or are no numbers.
            InvalidCandidate: the version cannot be loaded.
            ForkedProcess: TensorFlow ran in the process that this one was forked from.

        Example:
            >>> from tfkmeans import load
            >>> customers = load("models/customers")
            >>> customers.score([[20.0, 1.0], [60.0, 9.0]]).silhouette.shape
            (2,)
        """
        return self._ask(Score, points)

    def transform(self, points: ArrayLike | Mapping[str, Any], /) -> Distances:
        """The distances of each row to every centroid.

        Args:
            points: [n, d] in raw units, or a table of the columns that the model takes.

        Returns:
            ``all_distances`` float32 [n, k].

        Raises:
            InvalidPoints: rows have another width than the model, or are no numbers.
            InvalidCandidate: the version cannot be loaded.
            ForkedProcess: TensorFlow ran in the process that this one was forked from.

        Example:
            >>> from tfkmeans import load
            >>> customers = load("models/customers")
            >>> customers.transform([[20.0, 1.0], [60.0, 9.0]]).all_distances.shape
            (2, 3)
        """
        return self._ask(Distances, points)

    def decode(self, cluster_index: ArrayLike | None = None, /) -> Centroids:
        """The centroids of clusters, in raw units.

        Args:
            cluster_index: whole numbers [n] from 0 to k - 1; by default all, in their order.

        Returns:
            ``centroid`` float32 [n, d].

        Raises:
            InvalidPoints: an index is no cluster.
            InvalidCandidate: the version cannot be loaded.
            ForkedProcess: TensorFlow ran in the process that this one was forked from.

        Example:
            >>> from tfkmeans import load
            >>> customers = load("models/customers")
            >>> customers.decode().centroid.shape
            (3, 2)
        """
        clusters = self.card.n_clusters
        every = np.arange(clusters, dtype=np.int32)
        index = every if cluster_index is None else np.asarray(cluster_index)
        is_whole = index.dtype.kind in "iu" or not index.size
        if index.ndim != 1 or not is_whole or not np.isin(index, every).all():
            raise InvalidPoints(
                f"cluster_index is {str(cluster_index)[:60]}; give whole numbers [n] from 0 to "
                f"{clusters - 1}"
            )
        return self._answer(Centroids, Centroids.signature, cluster_index=index.astype(np.int32))

    @cached_property
    def model(self) -> Any:
        """What TensorFlow loads."""
        from kmeans_module.quiet_tensorflow import tf

        check_not_forked()
        try:
            # A signature holds the variables only weakly: the model has to stay referenced.
            model = tf.saved_model.load(str(self.directory))
        except (OSError, tf.errors.OpError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InvalidCandidate(f"{self.directory}: cannot be loaded: {reason}") from error
        for result in (Assignment, Score, Distances, Centroids):
            if result.signature not in model.signatures:
                raise InvalidCandidate(f"{self.directory}: has no signature {result.signature!r}")
        return model

    def _ask(self, result: type[_R], points: Any) -> _R:
        """The answer to points, or to a table where the model takes columns by name."""
        if not is_table(points) or self.card.encoder is None:
            return self._answer(result, result.signature, points=self._rows(points))
        columns = self.card.columns
        arrays = read_columns(columns, points)
        names = [column.name for column in columns]
        self._unused.warn(str(self.directory), names, points, stacklevel=3)
        if self.card.column_signatures:
            inputs = {column_input(place): array for place, array in enumerate(arrays)}
            return self._answer(result, f"{result.signature}_columns", **inputs)
        # Of so many columns there are no signatures.
        from kmeans_module.column_training import encode_arrays
        from kmeans_module.encoder import Encoder

        return self._answer(
            result, result.signature, points=encode_arrays(Encoder(columns), arrays)
        )

    def _rows(self, points: ArrayLike) -> NDArray[np.float32]:
        try:
            array = read_features(points, lambda: self.card.feature_names)
        except NoArray as error:
            raise InvalidPoints(str(error)) from None
        with np.errstate(over="ignore"):  # a number beyond float32 is as infinity
            rows = np.asarray(array, np.float32, order="C")
        inputs = self.model.signatures[Assignment.signature].structured_input_signature[1]
        width = inputs["points"].shape[1]
        if rows.ndim != 2 or rows.shape[1] != width:
            raise InvalidPoints(f"points have shape {rows.shape}, and the model takes [n, {width}]")
        return rows

    def _answer(self, result: type[_R], signature: str, /, **inputs: NDArray[Any]) -> _R:
        from kmeans_module.quiet_tensorflow import tf

        check_not_forked()
        function = self.model.signatures[signature]
        tensors = function(**{name: tf.constant(array) for name, array in inputs.items()})
        outputs: dict[str, Any] = {
            tensor.name: tensors[tensor.name].numpy()
            for tensor in SIGNATURES[result.signature].outputs
        }
        return result(**outputs, version=self.version)


def load(
    base: str | Path, version: int | None = None, *, label: str | None = None
) -> PublishedVersion:
    """A version of a model, by default the live one.

    The live version is what ``models.config`` has as ``stable``, and without that label the highest
    version listed there; of a model without an entry there or with one whose policy lists no
    versions, and in an object store, the highest. The model itself is loaded by the first call,
    which needs TensorFlow.

    Args:
      base: the folder of the model, or its address as a string, ``gs://bucket/models/customers``.
      version: its number.
      label: its label in ``models.config``, in place of the number.

    Returns:
      The version; its model is not loaded yet.

    Raises:
      NotAModel: ``base`` holds no version.
      VersionNotFound: it does not hold that one, or has no such label.
      InvalidCandidate: the version has no card that can be read.
      InvalidModelsConfig: ``models.config`` cannot be read, and no number was given.

    Example:
        >>> from tfkmeans import load
        >>> load("models/customers", label="stable").card.feature_names
        ('age', 'income')
    """
    if version is not None and (isinstance(version, bool) or not isinstance(version, int)):
        raise VersionNotFound(f"{version!r} is not a version of {base}; give a number")
    if version is not None and label is not None:
        raise VersionNotFound(
            f"version {version} and label {label!r} of {base}: conflict; give one of them"
        )
    found = PublishedVersion(open_storage(base).version_directory(version, label))
    _ = found.card
    return found
