"""``KMeans``: `fit` with the interface of scikit-learn. Does not need scikit-learn."""

import inspect
import sys
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .array_input import read_array, read_features, read_named_array, vector_column
from .array_types import Array, Float32
from .contract import BAD_ROW
from .errors import InvalidParameter, InvalidPoints, NoArray, NonFinitePoint, NotFitted, ZeroPoint
from .forks import check_not_forked
from .model_space import Distance
from .one_line import html_table
from .quiet_tensorflow import tf
from .raw_columns import UnusedColumns, is_table
from .row_sample import Seeding
from .row_source import RowSource
from .training import FitResult, fit
from .validation import check_finite, check_weights


class KMeans:
    """k-means with the interface of scikit-learn: ``fit``, ``predict``, ``transform``, ``score``.

    It works in scikit-learn's ``Pipeline``, ``clone`` and ``GridSearchCV``. The parameters are
    those of `fit`. Differences from scikit-learn: ``n_init="auto"`` is 10 starts up to 100,000 rows
    and 1 above; ``random_state=None`` is the seed 0, so each fit gives the same bits; there is no
    ``algorithm``, ``set_output`` or metadata routing. Columns of a data frame are matched by name,
    in any order.

    ``export.publish_fit`` publishes a fitted estimator, with the rows of the fit.

    Args:
        n_clusters: the number of clusters, k.
        init: "k-means++", "k-means||", "random", or centroids [k, d].
        n_init: the number of starts, of which the best is kept; or "auto".
        max_iter: the most iterations of a start.
        tol: tolerance of the shift of the centroids, relative to the variance.
        standardize: divide each column by its standard deviation, in the exported graph too.
        distance: "euclidean" or "cosine".
        feature_weight: the weight of each column [d]; see `fit`.
        seeding: "all", "sample" or "auto": the source of the initial centroids.
        sample_rows: the number of rows of that sample.
        passes: iterations over all rows after a sample, for an approximate fit.
        device: "auto", "cpu", "gpu" or names of devices; see `fit`.
        device_memory: the most bytes to use on each device; see `fit`.
        random_state: an integer, the seed of every random choice; None is 0; a `RandomState` of
            NumPy draws a seed at each fit.

    Attributes:
        cluster_centers_: float32 [k, d], in raw units.
        labels_: int32 [n], the cluster of each row of the fit; None for a `RowSource`.
        inertia_: weighted sum of squared distances to the nearest centroid, in the model's space.
        n_iter_: iterations of the best start.
        n_features_in_: the number of features, d.
        feature_names_in_: the names of the columns; not set if the rows had none.
        result_: the `FitResult`, whose ``module`` holds the model.

    Example:
        >>> from tfkmeans import KMeans
        >>> X = [[1.0, 2.0], [1.0, 4.0], [10.0, 2.0], [10.0, 4.0]]
        >>> model = KMeans(n_clusters=2, random_state=0).fit(X)
        >>> model.cluster_centers_
        array([[ 1.,  3.],
               [10.,  3.]], dtype=float32)
        >>> model.predict([[0.0, 0.0], [12.0, 3.0]])
        array([0, 1], dtype=int32)
        >>> model.score(X)
        -4.0
    """

    cluster_centers_: Float32
    labels_: NDArray[np.int32] | None
    inertia_: float
    n_iter_: int
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]
    result_: FitResult

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: str | ArrayLike = "k-means++",
        n_init: int | Literal["auto"] = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        standardize: bool = False,
        distance: Distance = "euclidean",
        feature_weight: ArrayLike | None = None,
        seeding: Literal["auto"] | Seeding = "auto",
        sample_rows: int | None = None,
        passes: int | None = None,
        device: str = "auto",
        device_memory: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        """Keep the parameters; `fit` checks them."""
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.standardize = standardize
        self.distance = distance
        self.feature_weight = feature_weight
        self.seeding = seeding
        self.sample_rows = sample_rows
        self.passes = passes
        self.device = device
        self.device_memory = device_memory
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike | RowSource,  # noqa: N803 - scikit-learn's name
        y: None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Cluster the rows of X [n, d]; y is not used.

        Args:
            X: the points; see `kmeans_module.fit`.
            y: not used; pipelines pass it to every step.
            sample_weight: one number per row [n], not negative.

        Returns:
            The estimator, with the attributes of a fit.

        Raises:
            KMeansError: see `kmeans_module.fit`.

        Example:
            >>> from tfkmeans import KMeans
            >>> X = [[1.0, 2.0], [1.0, 4.0], [10.0, 2.0], [10.0, 4.0]]
            >>> KMeans(2).fit(X).inertia_
            4.0
        """
        points, names = (X, None) if isinstance(X, RowSource) else _read_rows(X)
        parameters = self.get_params()
        if isinstance(self.random_state, np.random.RandomState):
            parameters["random_state"] = self.random_state.randint(2**31)
        result = fit(points, sample_weight=sample_weight, **parameters)
        self._unused = UnusedColumns()
        self.result_ = result
        self.cluster_centers_ = result.centroids
        self.labels_ = result.assignments
        self.inertia_ = result.inertia
        self.n_iter_ = result.n_iter
        self.n_features_in_ = result.centroids.shape[1]
        if names is not None:
            self.feature_names_in_ = np.array(names, object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.int32]:  # noqa: N803
        """Return the nearest cluster of each row of X [n, d], which may have no rows.

        Columns of a frame that were not in the fit are ignored; one warning names them.

        Args:
            X: the points, with the columns of the fit; see `fit`.

        Returns:
            The index of the cluster of each row, int32 [n], from 0 to k - 1.

        Raises:
            NotFitted: the estimator has no fit.
            InvalidPoints: X has other columns than the fit, or a row with NaN or infinity.
            ForkedProcess: this process was forked from one in which TensorFlow ran.

        Example:
            >>> from tfkmeans import KMeans
            >>> X = [[1.0, 2.0], [1.0, 4.0], [10.0, 2.0], [10.0, 4.0]]
            >>> KMeans(2).fit(X).predict([[0.0, 0.0], [12.0, 3.0]])
            array([0, 1], dtype=int32)
        """
        index: NDArray[np.int32] = self._answer(X, "assign")["cluster_index"]
        return index

    def transform(self, X: ArrayLike) -> Float32:  # noqa: N803
        """Return the distance of each row to every centroid, in the model's space.

        Args:
            X: the points; see `predict`.

        Returns:
            Distances float32 [n, k].

        Raises:
            KMeansError: see `predict`.

        Example:
            >>> from tfkmeans import KMeans
            >>> X = [[1.0, 2.0], [1.0, 4.0], [10.0, 2.0], [10.0, 4.0]]
            >>> KMeans(2).fit(X).transform([[1.0, 3.0], [10.0, 3.0]])
            array([[0., 9.],
                   [9., 0.]], dtype=float32)
        """
        distances: Float32 = self._answer(X, "transform")["all_distances"]
        return distances

    def fit_predict(
        self,
        X: ArrayLike,  # noqa: N803
        y: None = None,
        sample_weight: ArrayLike | None = None,
    ) -> NDArray[np.int32]:
        """Fit, and return the cluster of each row of X.

        Args:
            X: the points; see `fit`. Not a RowSource, because its labels are not kept.
            y: not used.
            sample_weight: one number per row [n], not negative.

        Returns:
            The index of the cluster of each row, int32 [n].

        Raises:
            KMeansError: see `fit`.

        Example:
            >>> from tfkmeans import KMeans
            >>> X = [[1.0, 2.0], [1.0, 4.0], [10.0, 2.0], [10.0, 4.0]]
            >>> KMeans(2).fit_predict(X)
            array([0, 0, 1, 1], dtype=int32)
        """
        labels = self.fit(X, y, sample_weight).labels_
        if labels is None:
            raise InvalidPoints("a RowSource has no labels in memory; fit it, and predict by parts")
        return labels

    def fit_transform(
        self,
        X: ArrayLike,  # noqa: N803
        y: None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Float32:
        """Fit, and return the distance of each row to every centroid.

        Args:
            X: the points; see `fit`. Not a RowSource.
            y: not used.
            sample_weight: one number per row [n], not negative.

        Returns:
            Distances float32 [n, k]; see `transform`.

        Raises:
            KMeansError: see `fit`.

        Example:
            >>> from tfkmeans import KMeans
            >>> X = [[1.0, 2.0], [1.0, 4.0], [10.0, 2.0], [10.0, 4.0]]
            >>> KMeans(2).fit_transform(X).shape
            (4, 2)
        """
        return self.fit(X, y, sample_weight).transform(X)

    def score(
        self,
        X: ArrayLike,  # noqa: N803
        y: None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Return minus the inertia of X; higher is better.

        Args:
            X: the points; see `predict`.
            y: not used.
            sample_weight: one number per row [n], not negative.

        Returns:
            Minus the weighted sum of squared distances to the nearest centroid.

        Raises:
            KMeansError: see `predict`.
            InvalidWeights: the weights are not one number per row.

        Example:
            >>> from tfkmeans import KMeans
            >>> X = [[1.0, 2.0], [1.0, 4.0], [10.0, 2.0], [10.0, 4.0]]
            >>> KMeans(2).fit(X).score(X)
            -4.0
        """
        squared = self._answer(X, "score")["squared_distance"].astype(np.float64)
        if sample_weight is None:
            return -float(squared.sum())
        return -float(squared @ check_weights(sample_weight, len(squared)).astype(np.float64))

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Return the names of the columns of `transform`.

        Args:
            input_features: not used.

        Returns:
            One name for each cluster, "kmeans0", "kmeans1" and so on.

        Raises:
            NotFitted: the estimator has no fit.

        Example:
            >>> from tfkmeans import KMeans
            >>> X = [[1.0, 2.0], [1.0, 4.0], [10.0, 2.0], [10.0, 4.0]]
            >>> KMeans(2).fit(X).get_feature_names_out()
            array(['kmeans0', 'kmeans1'], dtype=object)
        """
        return np.array([f"kmeans{index}" for index in range(len(self.cluster_centers_))], object)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name.

        Args:
            deep: not used, because no parameter is an estimator.

        Returns:
            The value of each parameter, including defaults.

        Example:
            >>> from tfkmeans import KMeans
            >>> KMeans(2, standardize=True).get_params()["standardize"]
            True
        """
        return {name: getattr(self, name) for name in _DEFAULTS}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name.

        Args:
            params: parameters of the class, and their values.

        Returns:
            The estimator.

        Raises:
            InvalidParameter: the class has no parameter of that name.

        Example:
            >>> from tfkmeans import KMeans
            >>> KMeans(2).set_params(n_clusters=3)
            KMeans(n_clusters=3)
        """
        for name, value in params.items():
            if name not in _DEFAULTS:
                raise InvalidParameter(
                    f"KMeans has no parameter {name!r}; it has {', '.join(_DEFAULTS)}"
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        """The parameters that differ from their defaults."""
        changed = [
            f"{name}={value!r}" if np.ndim(value) == 0 else f"{name}=array{np.shape(value)}"
            for name, value in self.get_params().items()
            if np.ndim(value) or value != _DEFAULTS[name]
        ]
        return f"KMeans({', '.join(changed)})"

    def _repr_html_(self) -> str:
        """The parameters as an HTML table for Jupyter."""
        return html_table("KMeans", (), self.get_params().items())

    def __sklearn_tags__(self) -> Any:
        """The tags of scikit-learn; needs scikit-learn 1.6."""
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type="clusterer",
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=[]),
            input_tags=InputTags(),
        )

    def __getattr__(self, name: str) -> Any:
        """Raise NotFitted for an attribute of a fit before the fit."""
        if name in _OF_A_FIT and "result_" not in self.__dict__:
            raise _not_fitted(f"this KMeans has no {name} yet; call fit(X) first")
        raise AttributeError(f"'KMeans' object has no attribute {name!r}")

    def _answer(self, rows: ArrayLike, signature: str) -> dict[str, Array]:
        """Call a signature of the model with rows; bad rows raise an error."""
        module = self.result_.module
        check_not_forked()
        points = self._read_features(rows)
        tensors = getattr(module, signature)(points=tf.constant(points))
        outputs = {name: tensor.numpy() for name, tensor in tensors.items()}
        first = next(iter(outputs.values()))
        first = first if first.ndim == 1 else first[:, 0]
        if (first == BAD_ROW).any():
            row = int(np.argmax(first == BAD_ROW))
            if np.isfinite(points[row]).all():
                raise ZeroPoint(f"row {row} of X has only zeros, and so no direction")
            raise NonFinitePoint(f"row {row} of X is outside float32; leave it out")
        return outputs

    def _read_features(self, rows: ArrayLike) -> Float32:
        names = getattr(self, "feature_names_in_", None)
        if names is not None and is_table(rows):
            taken = {*names, *map(vector_column, names)}
            self._unused.warn("KMeans", taken, rows, stacklevel=4)
        try:
            array = read_array(rows) if names is None else read_features(rows, names.tolist)
        except NoArray as error:
            raise InvalidPoints(str(error)) from None
        _check_shape(array)
        if array.shape[1] != self.n_features_in_:
            raise InvalidPoints(
                f"X has {array.shape[1]} features, but KMeans is expecting {self.n_features_in_} "
                "features as input"
            )
        check_finite(array)
        with np.errstate(over="ignore"):
            return array.astype(np.float32, copy=False)


#: The attributes that a fit sets.
_OF_A_FIT = frozenset(KMeans.__annotations__)

#: The parameters and their defaults.
_DEFAULTS = {
    name: parameter.default for name, parameter in inspect.signature(KMeans).parameters.items()
}


def _read_rows(rows: ArrayLike) -> tuple[Array, list[str] | None]:
    """Return rows as an array, and the names of their columns. Raises InvalidPoints."""
    try:
        array, names = read_named_array(rows)
    except NoArray as error:
        raise InvalidPoints(str(error)) from None
    _check_shape(array)
    return array, names


def _check_shape(array: Array) -> None:
    """Check that rows are a table. Raises InvalidPoints, with scikit-learn's remedy."""
    if array.ndim == 1:
        raise InvalidPoints(
            f"X has shape {array.shape}, and a table is needed. Reshape your data: "
            "X.reshape(-1, 1) for one feature, X.reshape(1, -1) for one row"
        )


def _not_fitted(message: str) -> NotFitted:
    """Return the error; with scikit-learn loaded, it is also a NotFittedError of scikit-learn."""
    theirs = sys.modules.get("sklearn.exceptions")
    if theirs is None:
        return NotFitted(message)
    both = type("NotFitted", (NotFitted, theirs.NotFittedError), {})
    error: NotFitted = both(message)
    return error
