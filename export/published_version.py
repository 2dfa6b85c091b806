"""A published version in this process, with NumPy arrays as inputs and outputs."""

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
    """A version of a model, in this process; threads may share it.

    The methods give the answers of a server. ``points`` are real numbers [n, d] in raw units, of
    any type that `kmeans_module.fit` accepts; the columns of a data frame or an Arrow table are
    matched by the names in the card. The answer to a row with NaN, infinity or a missing value is
    -1. Each method raises InvalidPoints for rows of another width, InvalidCandidate if the version
    cannot be loaded, and ForkedProcess like `kmeans_module.fit`.

    Attributes:
        directory: the folder or address of the version.
        version: the number of the version.
        card: the model card: training data, parameters and measures.
        model: the SavedModel, loaded at its first use.

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
        """Return the nearest cluster of each row, and the distance to its centroid.

        Args:
            points: [n, d] in raw units, or a table with the columns that the model takes.

        Returns:
            ``cluster_index`` int32 [n], ``distance`` float32 [n], and the version.

        Raises:
            InvalidPoints: rows have another width than the model, or are not numbers.
            InvalidCandidate: the version cannot be loaded.
            ForkedProcess: this process was forked from one in which TensorFlow ran.

        Example:
            >>> from tfkmeans import load
            >>> customers = load("models/customers")
            >>> customers.assign([[20.0, 1.0], [60.0, 9.0]])
            Assignment(cluster_index=int32[2], distance=float32[2], version=1)
        """
        return self._ask(Assignment, points)

    def score(self, points: ArrayLike | Mapping[str, Any], /) -> Score:
        """Return measures of how well each row fits its cluster.

        Args:
            points: [n, d] in raw units, or a table with the columns that the model takes.

        Returns:
            ``squared_distance`` and simplified ``silhouette``, float32 [n].

        Raises:
            InvalidPoints: rows have another width than the model, or are not numbers.
            InvalidCandidate: the version cannot be loaded.
            ForkedProcess: this process was forked from one in which TensorFlow ran.

        Example:
            >>> from tfkmeans import load
            >>> customers = load("models/customers")
            >>> customers.score([[20.0, 1.0], [60.0, 9.0]]).silhouette.shape
            (2,)
        """
        return self._ask(Score, points)

    def transform(self, points: ArrayLike | Mapping[str, Any], /) -> Distances:
        """Return the distances of each row to every centroid.

        Args:
            points: [n, d] in raw units, or a table with the columns that the model takes.

        Returns:
            ``all_distances`` float32 [n, k].

        Raises:
            InvalidPoints: rows have another width than the model, or are not numbers.
            InvalidCandidate: the version cannot be loaded.
            ForkedProcess: this process was forked from one in which TensorFlow ran.

        Example:
            >>> from tfkmeans import load
            >>> customers = load("models/customers")
            >>> customers.transform([[20.0, 1.0], [60.0, 9.0]]).all_distances.shape
            (2, 3)
        """
        return self._ask(Distances, points)

    def decode(self, cluster_index: ArrayLike | None = None, /) -> Centroids:
        """Return the centroids of clusters, in raw units.

        Args:
            cluster_index: integers [n] from 0 to k - 1; by default all, in order.

        Returns:
            ``centroid`` float32 [n, d].

        Raises:
            InvalidPoints: an index is not a cluster.
            InvalidCandidate: the version cannot be loaded.
            ForkedProcess: this process was forked from one in which TensorFlow ran.

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
        """The SavedModel, loaded by TensorFlow."""
        from kmeans_module.quiet_tensorflow import tf

        check_not_forked()
        try:
            # A signature has only weak references to the variables, so the model must stay
            # referenced.
            model = tf.saved_model.load(str(self.directory))
        except (OSError, tf.errors.OpError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InvalidCandidate(f"{self.directory}: cannot be loaded: {reason}") from error
        for result in (Assignment, Score, Distances, Centroids):
            if result.signature not in model.signatures:
                raise InvalidCandidate(f"{self.directory}: has no signature {result.signature!r}")
        return model

    def _ask(self, result: type[_R], points: Any) -> _R:
        """Answer points, or a table if the model takes columns by name."""
        if not is_table(points) or self.card.encoder is None:
            return self._answer(result, result.signature, points=self._rows(points))
        columns = self.card.columns
        arrays = read_columns(columns, points)
        names = [column.name for column in columns]
        self._unused.warn(str(self.directory), names, points, stacklevel=3)
        if self.card.column_signatures:
            inputs = {column_input(place): array for place, array in enumerate(arrays)}
            return self._answer(result, f"{result.signature}_columns", **inputs)
        # A model with so many columns has no signatures over columns.
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
        with np.errstate(over="ignore"):  # a number outside float32 becomes infinity
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
    """Load a version of a model, by default the live version.

    The live version is the one with the label ``stable`` in ``models.config``, or without that
    label the highest version listed there. If the model has no entry, if the policy of its entry
    lists no versions, or in an object store, it is the highest version. The first call loads the
    SavedModel, and needs TensorFlow.

    Args:
      base: the folder of the model, or its address as a string, ``gs://bucket/models/customers``.
      version: the number of the version.
      label: a label in ``models.config``, instead of the number.

    Returns:
      The version; its SavedModel is not loaded yet.

    Raises:
      NotAModel: ``base`` has no version.
      VersionNotFound: the version or the label does not exist.
      InvalidCandidate: the version has no readable card.
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
