"""The served model: centroids, the map to the model's space, and the signatures."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .assignment import all_distances, assign_and_sum, nearest_in_block, two_nearest_in_block
from .blocks import map_rows
from .columns import CategoryColumn, Column, NumberColumn, VectorColumn
from .contract import (
    ASSIGN,
    BAD_ROW,
    CLASSIFY,
    COLUMN_SIGNATURES,
    DECODE,
    FIT_STEP,
    MOST_COLUMNS,
    REGRESS,
    SCORE,
    SERVING_DEFAULT,
    SIGNATURES,
    TRANSFORM,
    column_input,
    signatures_left_out,
)
from .encoder import Encoder, tensor_spec
from .errors import InvalidParameter
from .forks import check_not_forked
from .graphs import FLOATS, INTS
from .lloyd import move_centroids
from .model_space import DISTANCES, Distance, unit_rows
from .quiet_tensorflow import tf
from .validation import check_choice

if TYPE_CHECKING:
    from .fit_parameters import FitParameters

Tensors = dict[str, tf.Tensor]


class KMeansModule(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """A fitted k-means model with the signatures of the served contract.

    Points are raw; ``(x - shift) / scale`` maps them to the model's space, in which distances are
    measured. For cosine distance they are then normalised to length 1, and a distance is the chord,
    ``sqrt(2 - 2 cos)``; a row of zeros has no direction and is a bad row. No signature changes the
    module.

    Attributes:
        centroids: float32 [k, d] variable, in the model's space.
        shift: float32 [d] variable, in raw units.
        scale: float32 [d] variable, in raw units.
        distance: "euclidean" or "cosine".
        parameters: the parameters of the fit; None for a module without a fit.
        encoder: the encoder of the columns of a table; None if the module takes only points.
        assign, score, transform, decode, fit_step: the served functions, with the named tensors of
            `kmeans_module.contract` as inputs and outputs.

    Example:
        >>> import tensorflow as tf
        >>> from tfkmeans import KMeansModule
        >>> module = KMeansModule(centroids=[[0.0, 0.0], [3.0, 4.0]], shift=[0, 0], scale=[1, 1])
        >>> answer = module.assign(points=tf.constant([[0.0, 0.0], [3.0, 5.0]]))
        >>> answer["cluster_index"].numpy(), answer["distance"].numpy()
        (array([0, 1], dtype=int32), array([0., 1.], dtype=float32))
    """

    def __init__(
        self,
        centroids: ArrayLike,
        shift: ArrayLike,
        scale: ArrayLike,
        distance: Distance = "euclidean",
    ) -> None:
        """Set centroids in the model's space; for cosine distance they have length 1.

        Raises InvalidParameter for an unknown distance, and ForkedProcess as `fit` does.
        """
        check_not_forked()
        super().__init__(name="kmeans")
        self.parameters: FitParameters | None = None
        self.encoder: Encoder | None = None
        self.distance = check_choice("distance", distance, DISTANCES)
        self.centroids = tf.Variable(centroids, trainable=False, dtype=tf.float32, name="centroids")
        self.shift = tf.Variable(shift, trainable=False, dtype=tf.float32, name="shift")
        self.scale = tf.Variable(scale, trainable=False, dtype=tf.float32, name="scale")
        self.n_clusters, self.n_features = self.centroids.shape
        self.assign = self._serve(ASSIGN, self._assign)
        self.score = self._serve(SCORE, self._score)
        self.transform = self._serve(TRANSFORM, self._transform)
        self.decode = self._serve(DECODE, self._decode)
        self.fit_step = self._serve(FIT_STEP, self._fit_step)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy the constructor arguments; the functions are traced again."""
        variables = self.centroids, self.shift, self.scale
        made_of = *(each.numpy() for each in variables), self.distance
        return type(self), made_of, (self.parameters, self.encoder)

    def __setstate__(self, state: "tuple[FitParameters | None, Encoder | None]") -> None:
        self.parameters, self.encoder = state

    @property
    def signatures(self) -> dict[str, Any]:
        """The served functions by the names of the contract, for ``tf.saved_model.save``."""
        functions = {name: getattr(self, name) for name in SIGNATURES if name != SERVING_DEFAULT}
        return {SERVING_DEFAULT: self.assign, **functions}

    @property
    def n_columns(self) -> int:
        """The number of columns of a tf.Example: those of the encoder, or one per feature."""
        return self.n_features if self.encoder is None else len(self.encoder.columns)

    @property
    def signatures_left_out(self) -> tuple[str, ...]:
        """The names of the signatures that a model with this number of columns does not have."""
        return signatures_left_out(self.n_columns, by_name=self.encoder is not None)

    def take_columns(self, encoder: Encoder) -> None:
        """Set the encoder, whose points are the points of the model.

        Args:
            encoder: an encoder whose points have the width of the model.

        Raises:
            InvalidParameter: the points of the encoder have another width.

        Example:
            >>> from tfkmeans import Encoder, KMeansModule, NumberColumn
            >>> module = KMeansModule([[0.0, 0.0], [3.0, 4.0]], shift=[0, 0], scale=[1, 1])
            >>> module.take_columns(Encoder([NumberColumn("age"), NumberColumn("income")]))
            >>> sorted(module.column_signatures())
            ['assign_columns', 'score_columns', 'transform_columns']
        """
        if len(encoder.feature_names) != self.n_features:
            raise InvalidParameter(
                f"the encoder gives {len(encoder.feature_names)} features, and the model takes "
                f"{self.n_features}"
            )
        self.encoder = encoder

    def column_signatures(self) -> dict[str, Any]:
        """Return the signatures over columns by the names of the contract, for
        ``tf.saved_model.save``.

        They take a tensor for each column, in the encoder's order, with the names of
        ``column_input``: TensorFlow refuses names such as "annual income" in functions, but not in
        a SavedModel.

        Returns:
            The functions by name; empty without an encoder, and with more than ``MOST_COLUMNS``
            columns.

        Example:
            >>> import tensorflow as tf
            >>> from tfkmeans import Encoder, KMeansModule, NumberColumn
            >>> module = KMeansModule([[0.0, 0.0], [3.0, 4.0]], shift=[0, 0], scale=[1, 1])
            >>> module.column_signatures()
            {}
            >>> module.take_columns(Encoder([NumberColumn("age"), NumberColumn("income")]))
            >>> assign = module.column_signatures()["assign_columns"]
            >>> assign(tf.constant([0.0, 3.0]), tf.constant([0.0, 5.0]))["cluster_index"].numpy()
            array([0, 1], dtype=int32)
        """
        encoder = self.encoder
        if encoder is None or len(encoder.columns) > MOST_COLUMNS:
            return {}
        specs = [
            tensor_spec(column.tensor, column_input(place))
            for place, column in enumerate(encoder.columns)
        ]
        answers = {ASSIGN: self.assign, SCORE: self.score, TRANSFORM: self.transform}

        def over_columns(answer: Callable[[tf.Tensor], Tensors]) -> Any:
            return tf.function(
                lambda *columns: answer(encoder.encode(columns)),
                input_signature=specs,
                autograph=False,
            )

        return {name: over_columns(answers[of]) for name, of in COLUMN_SIGNATURES.items()}

    def example_signatures(self, feature_names: Sequence[str]) -> dict[str, Any]:
        """Return ``classify`` and ``regress`` over serialized tf.Examples with these features.

        For ``tf.saved_model.save``, in addition to ``signatures``.

        Args:
            feature_names: d names, in the order of the features. With an encoder, the features of
                an example are the columns of the encoder.

        Returns:
            The two functions by name.

        Raises:
            InvalidParameter: the number of names is not d.

        Example:
            >>> from tfkmeans import KMeansModule
            >>> module = KMeansModule([[0.0, 0.0], [3.0, 4.0]], shift=[0, 0], scale=[1, 1])
            >>> sorted(module.example_signatures(["age", "income"]))
            ['classify', 'regress']
        """
        if len(feature_names) != self.n_features:
            raise InvalidParameter(
                f"feature_names has {len(feature_names)} names, and the model takes "
                f"{self.n_features} features"
            )
        columns = (
            [NumberColumn(name) for name in feature_names]
            if self.encoder is None
            else self.encoder.columns
        )
        features = {column.name: _example_feature(column) for column in columns}

        def assign_examples(inputs: tf.Tensor) -> Tensors:
            parsed = tf.io.parse_example(inputs, features)
            tensors = [parsed[column.name] for column in columns]
            encoder = self.encoder
            points = tf.stack(tensors, axis=1) if encoder is None else encoder.encode(tensors)
            answer: Tensors = self.assign(points)
            return answer

        def classify(inputs: tf.Tensor) -> Tensors:
            answer = assign_examples(inputs)
            return {
                "classes": tf.strings.as_string(answer["cluster_index"])[:, None],
                "scores": answer["distance"][:, None],
            }

        def regress(inputs: tf.Tensor) -> Tensors:
            return {"outputs": assign_examples(inputs)["distance"]}

        serialized = [tf.TensorSpec([None], tf.string, "inputs")]
        return {
            CLASSIFY: tf.function(classify, serialized, autograph=False),
            REGRESS: tf.function(regress, serialized, autograph=False),
        }

    def _serve(self, signature: str, function: Callable[..., Tensors]) -> Any:
        sizes = {"d": self.n_features}
        specs = [
            tf.TensorSpec([sizes.get(dim) for dim in tensor.shape], tensor.dtype, tensor.name)
            for tensor in SIGNATURES[signature].inputs
        ]
        # TensorFlow counts tracings by the code of a function, which all modules share, and would
        # warn at the fifth module. A partial has no code, and is counted separately.
        own = partial(function)
        vars(own)["__name__"] = f"_{signature}"
        return tf.function(own, input_signature=specs, autograph=False)

    def _assign(self, points: tf.Tensor) -> Tensors:
        def block(raw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            rows = self._to_model(raw)
            index, squared = nearest_in_block(rows, self.centroids)
            good = self._is_good(rows, squared)
            return _mark_bad(good, index), _mark_bad(good, tf.sqrt(squared))

        index, distance = self._map_rows(block, points, INTS, FLOATS)
        return {"cluster_index": index, "distance": distance}

    def _score(self, points: tf.Tensor) -> Tensors:
        def block(raw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            rows = self._to_model(raw)
            if self.n_clusters == 1:
                _, squared = nearest_in_block(rows, self.centroids)
                silhouette = tf.zeros_like(squared)
            else:
                squared, second = two_nearest_in_block(rows, self.centroids)
                near, far = tf.sqrt(squared), tf.sqrt(second)
                silhouette = tf.math.divide_no_nan(far - near, far)
            good = self._is_good(rows, squared)
            counted = good & tf.math.is_finite(silhouette)
            return _mark_bad(good, squared), tf.where(counted, silhouette, 0.0)

        squared, silhouette = self._map_rows(block, points, FLOATS, FLOATS)
        return {"squared_distance": squared, "silhouette": silhouette}

    def _map_rows(
        self,
        block: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
        points: tf.Tensor,
        *specs: tf.TensorSpec,
    ) -> tuple[tf.Tensor, ...]:
        """Compute two numbers per row from raw rows, in blocks that stay in the cache."""
        points = tf.ensure_shape(points, [None, self.n_features])
        return map_rows(block, points, width=self.n_clusters, specs=specs)

    def _transform(self, points: tf.Tensor) -> Tensors:
        rows, finite = self._enter(points)
        distances = all_distances(rows, self.centroids)
        # As in `assign`, a distance whose square overflows float32 is invalid.
        good = finite[:, None] & tf.math.is_finite(tf.square(distances))
        return {"all_distances": _mark_bad(good, distances)}

    def _decode(self, cluster_index: tf.Tensor) -> Tensors:
        cluster_index = tf.ensure_shape(cluster_index, [None])
        is_cluster = tf.debugging.Assert(
            tf.reduce_all((cluster_index >= 0) & (cluster_index < self.n_clusters)),
            [f"cluster_index holds a value outside 0 ... {self.n_clusters - 1}:", cluster_index],
        )
        with tf.control_dependencies([is_cluster]):
            chosen = tf.gather(self.centroids, cluster_index)
        return {"centroid": chosen * self.scale + self.shift}

    def _fit_step(
        self, points: tf.Tensor, sample_weight: tf.Tensor, centroids: tf.Tensor
    ) -> Tensors:
        d = self.n_features
        points = tf.ensure_shape(points, [None, None, d])
        centroids = tf.ensure_shape(centroids, [None, None, d])
        sample_weight = tf.ensure_shape(sample_weight, [None, None])
        # Without this check a missing weight would go unnoticed, because the points are read in
        # blocks of the weights' length.
        fits = tf.debugging.Assert(
            tf.reduce_all(tf.shape(sample_weight) == tf.shape(points)[:2])
            & tf.equal(tf.shape(centroids)[0], tf.shape(points)[0])
            # oneDNN aborts the process on a product without centroids.
            & (tf.shape(centroids)[1] > 0),
            [
                "points [b, n, d], sample_weight [b, n] and centroids [b, k, d] do not fit, "
                "or there is no centroid:",
                tf.shape(points),
                tf.shape(sample_weight),
                tf.shape(centroids),
            ],
        )
        with tf.control_dependencies([fits]):
            points = tf.identity(points)
        shapes: tuple[list[int | None], ...] = ([None, d], [None], [], [])
        moved, counts, inertia, shift = tf.cond(
            tf.shape(points)[0] > 0,
            lambda: tf.map_fn(
                self._one_fit_step,
                (points, sample_weight, centroids),
                fn_output_signature=tuple(tf.TensorSpec(shape, tf.float32) for shape in shapes),
            ),
            # map_fn cannot stack zero results.
            lambda: (centroids, centroids[:, :, 0], tf.zeros([0]), tf.zeros([0])),
        )
        return {"centroids": moved, "counts": counts, "inertia": inertia, "shift": shift}

    def _one_fit_step(
        self, problem: tuple[tf.Tensor, tf.Tensor, tf.Tensor]
    ) -> tuple[tf.Tensor, ...]:
        points, sample_weight, centroids = problem
        rows, finite = self._enter(points)
        # A row whose square overflows float32 is bad too, with any centroids.
        finite &= tf.math.is_finite(tf.reduce_sum(tf.square(rows), 1))
        weight = tf.where(finite, sample_weight, 0.0)
        began = self._to_model(centroids)
        _, _, sums, counts, inertia = assign_and_sum(
            lambda start, stop: rows[start:stop], weight, began
        )
        moved = move_centroids(began, sums, counts, on_sphere=self.distance == "cosine")
        move = tf.cast(moved, tf.float64) - tf.cast(began, tf.float64)
        shift = tf.reduce_sum(tf.square(move))
        # An empty cluster keeps the bits of its centroid, without conversion to the model's space.
        raw = tf.where(counts[:, None] > 0, moved * self.scale + self.shift, centroids)
        return raw, *(tf.cast(each, tf.float32) for each in (counts, inertia, shift))

    def _enter(self, points: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Map rows to the model's space; return them and a mask of the good rows.

        A row with NaN or infinity is bad; for cosine distance, also a row of zeros.
        """
        points = tf.ensure_shape(points, [None, self.n_features])
        rows = self._to_model(points)
        # If the sum of a row overflows, so does its square, and the row is bad too.
        return rows, self._is_good(rows, tf.reduce_sum(rows, 1))

    def _is_good(self, rows: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
        """Return a mask of the good rows in the model's space, from one number per row.

        The number is the sum or the squared distance to any centroid, which NaN or infinity in the
        row makes NaN or infinite. This saves a pass over the rows.
        """
        good = tf.math.is_finite(numbers)
        return good & tf.reduce_any(rows != 0, 1) if self.distance == "cosine" else good

    def _to_model(self, points: tf.Tensor) -> tf.Tensor:
        rows = (points - self.shift) / self.scale
        return unit_rows(rows) if self.distance == "cosine" else rows


def _mark_bad(good: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    return tf.where(good, values, tf.cast(BAD_ROW, values.dtype))


def _example_feature(column: Column) -> tf.io.FixedLenFeature:
    """Return the feature of a column in a tf.Example; if absent, it is a missing value."""
    if isinstance(column, CategoryColumn):
        return tf.io.FixedLenFeature([], tf.string, "")
    shape = [column.width] if isinstance(column, VectorColumn) else []
    return tf.io.FixedLenFeature(shape, tf.float32, np.full(shape, np.nan, np.float32))
