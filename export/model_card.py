"""The model card: training data, parameters and measures of a version.

It is the file ``assets.extra/model_card.json`` of a version, and is read without TensorFlow.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Any, Final, NoReturn, Self, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from kmeans_module.columns import (
    CategoryColumn,
    Column,
    NumberColumn,
    VectorColumn,
    column_signature,
)
from kmeans_module.contract import COLUMN_SIGNATURES, MOST_COLUMNS, SignatureContract
from kmeans_module.one_line import OneLine

from .addresses import read_text
from .errors import InvalidCandidate
from .json_text import parse_json

#: The path of the card in its version directory.
CARD_FILE: Final = Path("assets.extra", "model_card.json")

#: The format of the cards that every release reads, and that of cards with an encoder: who ignored
#: it would take the features for the columns. A reader refuses a newer format and ignores unknown
#: fields.
FORMAT: Final = 1
FORMAT_WITH_ENCODER: Final = 2

_EUCLIDEAN_SPACE: Final = "model: (points - shift) / scale"
_COSINE_SPACE: Final = (
    "model: (points - shift) / scale at length 1; a distance is the chord, sqrt(2 - 2 cos)"
)

_NO_SHA256: Final = "0" * 64
_CARD_SHA256: Final = re.compile(r'("card_sha256": ")([0-9a-f]{64})(")')

_MEND: Final = "restore the exported card, or export the model again"

#: With more clusters, a card has only the sizes, as ``cluster_sizes``.
MOST_PROFILES: Final = 4096

#: The most values of a category in a line, and the most characters of each.
_SHOWN_VALUES: Final = 8
_SHOWN_LENGTH: Final = 40

#: The quantiles of distances in a card, by their names.
QUANTILES: Final[Mapping[str, float]] = {
    name: float(name) for name in ("0", "0.25", "0.5", "0.75", "0.95", "1")
}


@dataclass(frozen=True)
class TrainingData:
    """The rows of the fit.

    ``fingerprint`` is a SHA-256 in hexadecimal over the feature names and the used rows: see
    ``export.row_measures.fingerprint``. ``weight_column`` is the weight column; None if unknown, or
    if all weights are 1.
    """

    fingerprint: str
    files: tuple[str, ...]
    rows_read: int
    rows_used: int
    rows_left_out: int
    weight_column: str | None = None


@dataclass(frozen=True)
class Parameters:
    """The parameters of the fit; ``init`` is "array" for given initial centroids.

    ``seeding`` is "sample" if a fit of ``sample_rows`` rows gave the initial centroids, None for
    given centroids; ``passes`` is the limit of iterations over all rows after it, if set.
    ``feature_weight`` has the weights of features, None if all are 1; ``scale`` includes them.
    """

    init: str
    n_init: int
    max_iter: int
    tol: float
    seed: int
    seeding: str | None = "all"
    sample_rows: int | None = None
    passes: int | None = None
    feature_weight: tuple[float, ...] | None = None


@dataclass(frozen=True)
class CardIteration:
    """One Lloyd iteration: its inertia and the squared shift of the centroids, in the model's
    space.
    """

    inertia: float
    shift: float


@dataclass(frozen=True)
class Silhouette:
    """The mean silhouette of ``rows`` rows; ``value`` is None if undefined.

    ``standard_error`` is the standard error of the mean from sampling; 0 if all rows were measured,
    None in older cards.
    """

    value: float | None
    rows: int
    kind: str = "silhouette"
    standard_error: float | None = None


@dataclass(frozen=True)
class ClusterProfile:
    """One cluster: its rows, their share of all, and quantiles of their distances to the centroid.

    ``distance_quantiles`` is empty for an empty cluster, and in a card of more than 4,096 clusters.
    """

    index: int
    size: int
    share: float
    distance_quantiles: Mapping[str, float]


@dataclass(frozen=True)
class CardColumn:
    """A column of the model, and its encoding.

    Attributes:
      name: the name of the column.
      kind: "number", "category" or "vector".
      fill: the replacement of missing numbers; None keeps them missing.
      values: the values of a category, in the order of its features.
      has_unknown: whether a category has an additional feature for other and missing values.
      width: the length of a vector.
    """

    name: str
    kind: str
    fill: float | None = None
    values: tuple[str, ...] = ()
    has_unknown: bool = False
    width: int = 1

    @classmethod
    def of(cls, column: Column) -> Self:
        """Return the entry of a column."""
        match column:
            case NumberColumn(name, fill):
                return cls(name, "number", fill=fill)
            case CategoryColumn(name, values, has_unknown):
                return cls(name, "category", values=values, has_unknown=has_unknown)
            case VectorColumn(name, width):
                return cls(name, "vector", width=width)

    def column(self) -> Column:
        """Return the column. Raises _Mismatch for an unknown kind."""
        match self.kind:
            case "number":
                return NumberColumn(self.name, self.fill)
            case "category":
                return CategoryColumn(self.name, self.values, self.has_unknown)
            case "vector":
                return VectorColumn(self.name, self.width)
        raise _Mismatch(f"kind is {self.kind!r}; it must be number, category or vector")

    def describe(self) -> str:
        """Describe the kind and the treatment of missing values in a line, with at most some
        values.
        """
        match self.kind:
            case "category":
                shown = [value if value.isprintable() else repr(value) for value in self.values]
                some = ", ".join(value[:_SHOWN_LENGTH] for value in shown[:_SHOWN_VALUES])
                more = len(shown) - _SHOWN_VALUES
                rest = f" and {more:,} more" if more > 0 else ""
                fate = "has a feature of its own" if self.has_unknown else "is 0 in all"
                return (
                    f"category of {len(shown):,} values ({some}{rest}); another or a missing one "
                    f"{fate}"
                )
            case "vector":
                return f"vector of {self.width:,} numbers; a missing one makes a bad row"
        if self.fill is None:
            return "number; a missing one makes a bad row"
        return f"number; a missing one becomes {self.fill:.6g}"


@dataclass(frozen=True)
class CardEncoder:
    """The encoder of the model: its columns, and a description of the following maps."""

    columns: tuple[CardColumn, ...]
    maps: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class ModelCard(OneLine):
    """The training data, parameters and measures of a version.

    Distances, inertia and silhouette are in the model's space, ``(points - shift) / scale``; for
    cosine distance rows are then normalised to length 1, and a distance is the chord.

    Attributes:
        model: the served name of the model, if known.
        created: the time of creation, UTC in ISO 8601.
        package_version: the version of tfkmeans.
        tensorflow_version: the version of TensorFlow.
        n_clusters: the number of clusters, k.
        n_features: d; with an encoder, the number of encoded features.
        feature_names: d names, in the order of the columns.
        standardize: whether each column is divided by its standard deviation.
        shift: d numbers, in raw units.
        scale: d numbers, in raw units; 1 unless columns are standardised or weighted.
        data: the rows of the fit.
        parameters: the parameters of the fit.
        n_iter: iterations of the best start.
        converged: whether it stopped before ``max_iter``.
        inertia: weighted sum of squared distances to the nearest centroid.
        silhouette: the mean silhouette, its standard error, and the number of measured rows.
        distance_quantiles: the quantiles of the distances of all rows to their centroids.
        clusters: size, share and distances of each cluster.
        history: the iterations.
        input_dtype: the dtype of points.
        distance: "euclidean" or "cosine".
        distance_space: the model's space, in words.
        encoder: the columns that the model takes by name, and their encoding; or None.
        signatures_left_out: the signatures that are omitted because of the number of columns.
        forced: the findings of the publish gate that were overridden by force.
        files_sha256: the SHA-256 of every other file of the version. Equality ignores it.
        card_sha256: the SHA-256 of the card's own text with 64 zeros in this place. Equality
            ignores it.
        format: the format of the card: 1, or 2 with an encoder.

    Example:
        >>> from tfkmeans import load
        >>> card = load("models/customers").card
        >>> card.feature_names, card.n_clusters, card.data.rows_used
        (('age', 'income'), 3, 150)
    """

    model: str | None
    created: str
    package_version: str
    tensorflow_version: str
    n_clusters: int
    n_features: int
    feature_names: tuple[str, ...]
    standardize: bool
    shift: tuple[float, ...]
    scale: tuple[float, ...]
    data: TrainingData
    parameters: Parameters
    n_iter: int
    converged: bool
    inertia: float
    silhouette: Silhouette
    distance_quantiles: Mapping[str, float]
    clusters: tuple[ClusterProfile, ...]
    history: tuple[CardIteration, ...]
    input_dtype: str = "float32"
    distance: str = "euclidean"
    distance_space: str = _EUCLIDEAN_SPACE
    encoder: CardEncoder | None = None
    signatures_left_out: tuple[str, ...] = ()
    forced: tuple[str, ...] = ()
    files_sha256: Mapping[str, str] = field(default_factory=dict, compare=False)
    card_sha256: str = field(default=_NO_SHA256, compare=False)
    format: int = FORMAT

    def _shown(self) -> dict[str, Any]:
        names = ("model", "n_clusters", "n_features", "inertia", "converged", "created")
        shown = {name: getattr(self, name) for name in names}
        return shown | {"rows": self.data.rows_used, "silhouette": self.silhouette.value}

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that the model takes by name; empty without an encoder."""
        return tuple(each.column() for each in self.encoder.columns) if self.encoder else ()

    @property
    def are_shares(self) -> tuple[bool, ...]:
        """For each feature, whether its mean is the share of rows with a category value."""
        if self.encoder is None or self.encoder.maps:
            return (False,) * self.n_features
        return tuple(
            isinstance(column, CategoryColumn)
            for column in self.columns
            for _ in column.feature_names
        )

    @property
    def column_signatures(self) -> dict[str, SignatureContract]:
        """The signatures over the model's columns, by name; empty with too many columns."""
        if not 0 < len(self.columns) <= MOST_COLUMNS:
            return {}
        return {name: column_signature(name, self.columns) for name in COLUMN_SIGNATURES}

    def to_model_space(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """Map raw points to the model's space; a row without a direction stays zero.

        Args:
            points: numbers [n, d] in raw units, in the order of ``feature_names``.

        Returns:
            float64 [n, d].

        Raises:
            ValueError: points have another width.

        Example:
            >>> from tfkmeans import load
            >>> load("models/customers").card.to_model_space([[20.0, 1.0]]).shape
            (1, 2)
        """
        scaled: NDArray[np.float64] = (np.asarray(points, np.float64) - self.shift) / self.scale
        if self.distance == "cosine":
            length = np.linalg.norm(scaled, axis=1, keepdims=True)
            scaled = np.divide(scaled, length, where=length > 0, out=np.zeros_like(scaled))
        return scaled

    def to_json(self) -> str:
        """Return the card as strict JSON: ``format`` first, then the fields in order.

        With more than 4,096 clusters it has only their sizes.

        Returns:
            The text.

        Raises:
            InvalidCandidate: a number is not finite.

        Example:
            >>> import json
            >>> from tfkmeans import load
            >>> json.loads(load("models/customers").card.to_json())["n_clusters"]
            3
        """
        is_large = len(self.clusters) > MOST_PROFILES
        values = asdict(replace(self, clusters=()) if is_large else self)
        if is_large:
            values["cluster_sizes"] = [cluster.size for cluster in self.clusters]
        try:
            return json.dumps({"format": values.pop("format"), **values}, indent=2, allow_nan=False)
        except ValueError as error:
            raise InvalidCandidate(
                f"the model card contains a number that is not finite ({error}); scale the "
                "features so that their squared distances fit float32"
            ) from None

    @classmethod
    def from_json(cls, text: str, *, origin: str = "model card") -> Self:
        """Parse a card.

        Args:
            text: the result of `to_json`.
            origin: the name of the text in errors.

        Returns:
            The card.

        Raises:
            InvalidCandidate: the text is not a card, or one of a newer release.

        Example:
            >>> from tfkmeans import ModelCard, load
            >>> card = load("models/customers").card
            >>> ModelCard.from_json(card.to_json()) == card
            True
        """
        try:
            values = parse_json(text, parse_constant=_refuse_constant)
        except ValueError as error:
            raise InvalidCandidate(f"{origin}: not JSON: {error}; {_MEND}") from None
        written_in = values.get("format") if isinstance(values, dict) else None
        if isinstance(written_in, int) and written_in > FORMAT_WITH_ENCODER:
            raise InvalidCandidate(
                f"{origin}: has format {written_in}, and this release reads up to "
                f"{FORMAT_WITH_ENCODER}; update tfkmeans"
            )
        try:
            card: Self = _decode(cls, values, "the card")
            for size in ("n_clusters", "n_features"):
                if getattr(card, size) < 1:
                    raise _Mismatch(f"{size} is {getattr(card, size)}; it must be at least 1")
            _ = card.columns
            for quantiles in (card.distance_quantiles, *_quantiles_of_clusters(card)):
                if quantiles and not quantiles.keys() >= QUANTILES.keys():
                    raise _Mismatch(f"distance_quantiles lack one of {', '.join(QUANTILES)}")
            if "cluster_sizes" in values:
                sizes = _decode(tuple[int, ...], values["cluster_sizes"], "cluster_sizes")
                card = replace(card, clusters=_profiles(sizes))
        except _Mismatch as error:
            raise InvalidCandidate(f"{origin}: {error}; {_MEND}") from None
        return card

    @classmethod
    def read(cls, version_directory: str | Path) -> Self:
        """Read the card of a version.

        Args:
            version_directory: the directory of the version, or its address.

        Returns:
            The card.

        Raises:
            InvalidCandidate: the card is missing or corrupt.

        Example:
            >>> from tfkmeans import ModelCard
            >>> ModelCard.read("models/customers/1").n_clusters
            3
        """
        path = f"{version_directory}/{CARD_FILE.as_posix()}"
        try:
            text = read_text(path)
        except FileNotFoundError:
            raise InvalidCandidate(f"{version_directory}: no model card at {CARD_FILE}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidCandidate(f"{path}: cannot be read: {error}") from None
        return cls.from_json(text, origin=path)

    def write(self, version_directory: str | Path) -> None:
        """Write the card to the directory of a candidate.

        Args:
            version_directory: an existing directory.

        Raises:
            OSError: the file cannot be written.
            InvalidCandidate: a number of the card is not finite.

        Example:
            >>> from pathlib import Path
            >>> from tfkmeans import load
            >>> Path("candidate").mkdir()
            >>> load("models/customers").card.write("candidate")
            >>> Path("candidate/assets.extra/model_card.json").exists()
            True
        """
        path = Path(version_directory, CARD_FILE)
        path.parent.mkdir(exist_ok=True)
        text = replace(self, card_sha256=_NO_SHA256).to_json() + "\n"
        path.write_text(_add_sha256(text, _sha256_of(text)), encoding="utf-8")


def distance_space(distance: str) -> str:
    """Return the description of the model's space in a card, by the name of the distance."""
    return _COSINE_SPACE if distance == "cosine" else _EUCLIDEAN_SPACE


def is_unchanged(card_text: bytes) -> bool:
    """Whether the text of a card is unchanged, by the hash that it contains."""
    text = card_text.decode("utf-8", "replace")
    return [found[1] for found in _CARD_SHA256.findall(text)] == [_sha256_of(text)]


def _sha256_of(text: str) -> str:
    """Return the SHA-256 of the text of a card, with zeros in the place of its hash."""
    return hashlib.sha256(_add_sha256(text, _NO_SHA256).encode("utf-8", "replace")).hexdigest()


def _add_sha256(text: str, sha256: str) -> str:
    return _CARD_SHA256.sub(rf"\g<1>{sha256}\g<3>", text)


def _quantiles_of_clusters(card: ModelCard) -> Iterator[Mapping[str, float]]:
    return (cluster.distance_quantiles for cluster in card.clusters)


def _profiles(sizes: tuple[int, ...]) -> tuple[ClusterProfile, ...]:
    rows = max(1, sum(sizes))
    return tuple(ClusterProfile(index, size, size / rows, {}) for index, size in enumerate(sizes))


#: The expected types of values of a card, in words.
_WORDS: Final = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


class _Mismatch(ValueError):
    """A value of a card is missing or has another type."""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _decode(kind: Any, value: Any, place: str) -> Any:
    """Convert a JSON value to an instance of ``kind``; raises _Mismatch, which names ``place``."""
    arguments = get_args(kind)
    if NoneType in arguments:
        return None if value is None else _decode(arguments[0], value, place)
    if is_dataclass(kind) and isinstance(value, dict):
        return _decode_dataclass(kind, value, place)
    if get_origin(kind) is tuple and isinstance(value, list):
        return tuple(_decode(arguments[0], item, f"{place}[{i}]") for i, item in enumerate(value))
    if get_origin(kind) is Mapping and isinstance(value, dict):
        return {key: _decode(arguments[1], value[key], f"{place}[{key!r}]") for key in value}
    # bool is an int to isinstance, and JSON writes 2.0 as it likes: 2 is a float too.
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        wanted = "a list" if get_origin(kind) is tuple else _WORDS.get(kind, "an object")
        raise _Mismatch(f"{place} should be {wanted}, and is {json.dumps(value)[:60]}")
    return value


def _decode_dataclass(kind: Any, value: Mapping[str, Any], place: str) -> Any:
    hints = get_type_hints(kind)
    decoded = {}
    for each in fields(kind):
        if each.name in value:
            decoded[each.name] = _decode(hints[each.name], value[each.name], each.name)
        elif each.default is MISSING and each.default_factory is MISSING:
            raise _Mismatch(f"{place} lacks {each.name!r}")
    return kind(**decoded)
