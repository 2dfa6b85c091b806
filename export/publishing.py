"""Publish a candidate or a fit as the next version of a model, atomically.

Does not import TensorFlow for a candidate and a folder.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kmeans_module.array_input import read_features, read_named_array
from kmeans_module.arrow_arrays import is_arrow
from kmeans_module.errors import InvalidColumns, NoArray

from . import file_hashes, golden_requests
from .addresses import model_name
from .category_changes import describe_category_changes
from .column_rows import ColumnRows
from .comparison import Comparison, NotCompared, Thresholds
from .durable_files import copy_tree
from .errors import InvalidCandidate, PublishFailed
from .feature_names import shorten_names
from .model_card import ModelCard
from .published_version import PublishedVersion, load
from .repository import SAVED_MODEL
from .storage import Storage, explain_failure, open_storage
from .validation import refuse_for, validate

if TYPE_CHECKING:
    from kmeans_module import Encoder, FitResult, KMeans, RowSource


class PublishOptions(TypedDict, total=False):
    """The optional settings of publishing.

    Keys:
      timeout: the most seconds of the validation; by default 600.
      thresholds: the allowed differences of the new version from the live version.
      holdout: an .npy file of rows [n, d], raw units, for comparing the two; for a version that
        takes columns by name, an .npz file with an array ``column/NAME`` for each column; by
        default the rows in the new version.
      force: publish despite the thresholds; the card records this. A version that does not load or
        does not give the recorded answers is refused anyway.
      served_at: the folder of the model as the server sees it, for a new entry in
        ``models.config``; by default the absolute path of the folder.
      served_as: the served name of the model in that entry; by default that of the folder.
      on_comparison: called with the figures, before the thresholds are checked.
      tell: called with messages: about waiting for another process, comparisons that are
        impossible because the versions contain no rows, lost and new category values, and
        published files that a server of another user cannot read.

    Example:
        >>> from tfkmeans import PublishOptions, Thresholds
        >>> options: PublishOptions = {"timeout": 60, "thresholds": Thresholds(min_rows_kept=0.9)}
        >>> sorted(options)  # for publish(candidate, base, **options)
        ['thresholds', 'timeout']
    """

    timeout: float
    thresholds: Thresholds
    holdout: str | Path | None
    force: bool
    served_at: str | None
    served_as: str | None
    on_comparison: Callable[[Comparison], None]
    tell: Callable[[str], None]


def publish(
    candidate: str | Path,
    base: str | Path,
    *,
    dry_run: bool = False,
    name: str | None = None,
    **options: Unpack[PublishOptions],
) -> int:
    """Publish a copy of a candidate as the next version of a model, atomically.

    Several processes may publish to a folder at the same time: each gets its own number, and none
    changes an existing version. ``base`` and its parents are created if absent. The first version
    gets the label ``stable`` in ``models.config``; a later one is served after its promotion. For
    the weaker guarantees of object stores see ``export.storage.GFileStorage``.

    Args:
      candidate: a version directory of ``write_candidate``. It is not changed.
      base: the folder of the model, or its address as a string, ``gs://bucket/models/customers``.
      dry_run: do everything except publishing.
      name: the name of the candidate in refusals; by default its folder.
      options: see ``export.publishing.PublishOptions``.

    Returns:
      The number of the new version, which is 1 or one above the highest number ever used.

    Raises:
      InvalidCandidate: the candidate is incomplete.
      PublishRefused: the validation failed, or the version differs too much from the live version.
      PublishFailed: the disk is full, ``base`` is read-only, is a file, ...
      InvalidModelsConfig: ``models.config`` cannot be read or edited, or has the model at another
        place than ``served_at``; nothing was published.

    Example:
        >>> from tfkmeans import publish
        >>> publish("models/customers/1", "models/published", dry_run=True)
        1
    """
    _check_options("publish", options)
    candidate, name = Path(candidate), name or str(candidate)
    with _open(base, options) as storage:
        if not candidate.is_dir():
            raise InvalidCandidate(f"{candidate}: no such folder; give a version directory")
        if not (candidate / SAVED_MODEL).is_file():
            raise InvalidCandidate(f"{candidate}: has no {SAVED_MODEL}; give a version directory")
        ModelCard.read(candidate)
        storage.check(candidate)
        if dry_run:
            storage.check_writable()
            with storage.live_version() as live:
                _pass_gate(candidate, live, name, options)
            return storage.next_number()
        return _publish(partial(copy_tree, candidate), storage, name, options)


def publish_fit(
    result: "FitResult | KMeans",
    points: "ArrayLike | Mapping[str, Any] | RowSource",
    base: str | Path,
    *,
    feature_names: Sequence[str] | None = None,
    files: Sequence[str | Path] = (),
    rows_left_out: int = 0,
    weight_column: str | None = None,
    sample_rows: bool = True,
    take_columns: Callable[[NDArray[np.int64]], Any] | None = None,
    **options: Unpack[PublishOptions],
) -> PublishedVersion:
    """Publish a fit as the next version of a model, like ``tfkmeans train`` after its fit.

    The function measures the card, writes the version to a temporary folder next to the versions,
    loads it in a fresh process, compares it with the live version, and renames the folder.

    Args:
      result: the result of ``fit`` for ``points``, or a fitted ``KMeans``, which sets the order
        of the columns of a frame.
      points: [n, d], raw units, of any type that ``fit`` accepts: the rows of the fit; written and
        measured as float32. For a fit of columns, the table. A source is read once more, and the
        version contains a uniform sample of it.
      base: the folder of the model, whose name is the served name, or its address as a string.
      feature_names: d names, in the order of the columns; by default those of a data frame, an
        Arrow table or a named series of vectors, ``embedding[0]``, ``embedding[1]``, ...
      files: the files of the rows.
      rows_left_out: the number of omitted rows, for example rows with missing values.
      weight_column: the name of the weight column of the fit.
      sample_rows: whether the version may contain up to 4,096 of the rows, for the publish gate and
        the reports. If not, for example because they are personal data, no file of it contains any,
        and ``options["tell"]`` is called if a comparison is impossible for this reason.
      take_columns: for a fit of columns over a source: returns the table of the rows with ascending
        numbers int64 [m].
      options: see ``export.publishing.PublishOptions``.

    Returns:
      The new version.

    Raises:
      InvalidCandidate: the points or the names are not those of the fit.
      NotFitted: the ``KMeans`` has no fit.
      PublishRefused, PublishFailed, InvalidModelsConfig: see ``publish``.

    Example:
        >>> from tfkmeans import fit, publish_fit
        >>> points = [[0.0, 1.0], [1.0, 0.0], [8.0, 9.0], [9.0, 8.0]]
        >>> result = fit(points, n_clusters=2, seed=0)
        >>> version = publish_fit(result, points, "models/fitted", feature_names=["age", "income"])
        >>> version.version, version.card.model
        (1, 'fitted')
        >>> sorted(version.decode().centroid.tolist())
        [[0.5, 0.5], [8.5, 8.5]]
    """
    _check_options("publish_fit", options)
    with _open(base, options) as storage:
        storage.check(None)
    from kmeans_module import KMeans, RowSource

    from .candidate import travelling_rows, write_version
    from .card_from_fit import check_fit, make_card
    from .row_measures import take_rows

    fitted_names = None
    if isinstance(result, KMeans):
        result, estimator = result.result_, result
        fitted_names = list(getattr(estimator, "feature_names_in_", ())) or None
    check_fit(result, points)
    encoder, columns = result.module.encoder, None
    measured: NDArray[np.float32] | RowSource
    if isinstance(points, RowSource):
        names = _names_of_source(points, feature_names, encoder)
        numbers = travelling_rows(points, result.parameters.seed)
        if encoder is not None and sample_rows:
            columns = _take_columns(encoder, take_columns, numbers)
        measured, rows = points, take_rows(points, numbers)
    elif encoder is not None:
        columns, rows = _encode(encoder, points, feature_names)
        measured, names = rows, encoder.feature_names
    else:
        rows, names = _rows_and_names(points, feature_names, fitted_names)
        measured = rows
    card = make_card(
        result,
        measured,
        feature_names=names,
        model=options.get("served_as") or model_name(base),
        files=[str(file) for file in files],
        rows_left_out=rows_left_out,
        weight_column=weight_column,
    )
    write = partial(
        write_version,
        module=result.module,
        card=card,
        points=rows,
        columns=columns,
        sample_rows=sample_rows,
    )
    with _open(base, options) as storage:
        number = _publish(write, storage, str(base), options)
    return load(base, number)


def _names_of_source(
    source: "RowSource", feature_names: Sequence[str] | None, encoder: "Encoder | None"
) -> Sequence[str]:
    """Return the names of the features of a source. Raises InvalidCandidate."""
    if encoder is not None:
        _refuse_names(feature_names)
        return encoder.feature_names
    if feature_names is None:
        raise InvalidCandidate(
            f"a source has no names; give feature_names, a list of {source.shape[1]}, one for each "
            "column"
        )
    return feature_names


def _take_columns(
    encoder: "Encoder",
    take_columns: Callable[[NDArray[np.int64]], Any] | None,
    numbers: NDArray[np.int64],
) -> ColumnRows:
    """Return the columns of the rows with these numbers. Raises InvalidCandidate."""
    if take_columns is None:
        raise InvalidCandidate(
            "the model takes columns by name, and a source has only points; give take_columns, a "
            "function that returns the table of some rows, or sample_rows=False"
        )
    try:
        return ColumnRows.read(encoder.columns, take_columns(numbers))
    except InvalidColumns as error:
        raise InvalidCandidate(str(error)) from None


def _refuse_names(feature_names: Sequence[str] | None) -> None:
    if feature_names is not None:
        raise InvalidCandidate(
            "feature_names are given, but a fit of columns has feature names already; leave them "
            "out"
        )


def _encode(
    encoder: "Encoder", table: Any, feature_names: Sequence[str] | None
) -> tuple[ColumnRows, NDArray[np.float32]]:
    """Return the rows of a table as the columns of a model, and as encoded points.

    Raises InvalidCandidate.
    """
    from kmeans_module.column_training import encode_arrays

    _refuse_names(feature_names)
    try:
        columns = ColumnRows.read(encoder.columns, table)
    except InvalidColumns as error:
        raise InvalidCandidate(str(error)) from None
    return columns, encode_arrays(encoder, list(columns.tensors.values()))


def _rows_and_names(
    points: Any, feature_names: Sequence[str] | None, fitted_names: list[str] | None
) -> tuple[NDArray[np.float32], Sequence[str]]:
    """Return the rows in the column order of the fit, and the names. Raises InvalidCandidate."""
    from .card_from_fit import check_table

    try:
        if fitted_names is None:
            array, columns = read_named_array(points)
        else:
            array, columns = read_features(points, lambda: fitted_names), fitted_names
    except NoArray as error:
        raise InvalidCandidate(str(error)) from None
    array = check_table(array, columns)
    if feature_names is None and columns is None:
        raise InvalidCandidate(_ask_for_names(points, array.shape[1]))
    if feature_names is not None and columns is not None and list(feature_names) != columns:
        raise InvalidCandidate(
            f"feature_names are {shorten_names(feature_names)}, and the columns of the points are "
            f"{shorten_names(columns)}; give the names of the frame, or none"
        )
    return array.astype(np.float32, copy=False), feature_names or columns or ()


def _ask_for_names(points: ArrayLike, n_features: int) -> str:
    """Return the message for points without names, with a call that gives names."""
    is_series = hasattr(points, "rename") and len(getattr(points, "shape", ())) == 1
    if not is_series and not is_arrow(points):
        return (
            f"points have no names; give feature_names, a list of {n_features}, one for each "
            "column, or a data frame"
        )
    mend = "points.rename('embedding')" if is_series else "pa.table({'embedding': points})"
    return (
        f"points are vectors without a name; give {mend}, or feature_names=[f'embedding[{{i}}]' "
        f"for i in range({n_features})]"
    )


def _check_options(function: str, options: PublishOptions) -> None:
    """Raise TypeError for an unknown option, as for a parameter."""
    for name in options:
        if name not in PublishOptions.__annotations__:
            raise TypeError(
                f"{function}() got an unexpected keyword argument {name!r}; "
                f"its options are {', '.join(PublishOptions.__annotations__)}"
            )


@contextmanager
def _open(base: str | Path, options: PublishOptions) -> Iterator[Storage]:
    """Open the storage of ``base``. Its errors in the context become PublishFailed."""
    tell = options.get("tell", lambda _said: None)
    storage = open_storage(
        base,
        served_at=options.get("served_at"),
        served_as=options.get("served_as"),
        tell=tell,
    )
    try:
        yield storage
    except storage.errors as error:
        raise PublishFailed(f"{base}: cannot publish: {explain_failure(error)}") from error


def _publish(
    write: Callable[[Path], None], storage: Storage, name: str, options: PublishOptions
) -> int:
    """Publish the version that ``write`` writes to a path."""
    with storage.staging() as version:
        write(version)
        with storage.live_version() as live:
            overridden = _pass_gate(version, live, name, options)
        if overridden:
            replace(ModelCard.read(version), forced=tuple(overridden)).write(version)
        return storage.commit(version)


def _pass_gate(version: Path, live: Path | None, name: str, options: PublishOptions) -> list[str]:
    """Validate a version; return the findings that ``force`` overrides.

    Raises PublishRefused.
    """
    refuse_for(file_hashes.find_changes(version), name)
    comparison = validate(
        version,
        name=name,
        timeout=options.get("timeout", 600.0),
        live=live,
        holdout=options.get("holdout"),
    )
    # Only a new version must have every kind: `validate` accepts older versions too.
    card = ModelCard.read(version)
    asked = golden_requests.read(version)
    refuse_for(golden_requests.find_missing(asked, card.n_clusters, card.column_signatures), name)
    if comparison is None or live is None:
        return []
    tell: Callable[[str], None] = options.get("tell", lambda _said: None)
    if isinstance(comparison, NotCompared):
        found = []
        tell(comparison.reason)
    elif isinstance(comparison, str):
        found = [f"cannot be compared with the live version: {comparison}"]
    else:
        if on_comparison := options.get("on_comparison"):
            on_comparison(comparison)
        found = comparison.beyond(options.get("thresholds", Thresholds()))
    before = _read_live(live)
    if not options.get("force", False):
        mend = f"{_describe_changes(before, card, live)}; --force publishes it anyway"
        refuse_for(found, name, mend=mend)
    if before is not None and (values := describe_category_changes(before, card)):
        tell(f"category values, compared with version {int(live.name)}: {values}")
    return found


def _read_live(live: Path) -> ModelCard | None:
    """Return the card of the live version; None if unreadable, which the comparison reports."""
    try:
        return ModelCard.read(live)
    except InvalidCandidate:
        return None


def _describe_changes(before: ModelCard | None, card: ModelCard, live: Path) -> str:
    """Describe differences from the live version that may explain the figures.

    The comparison has already reported differences of columns.
    """
    if before is None:
        return ""
    scaling = {True: "standardised", False: "not standardised"}
    pairs = [
        (f"k = {card.n_clusters}", f"k = {before.n_clusters}"),
        (scaling[card.standardize], scaling[before.standardize]),
        (f"{card.distance} distance", f"{before.distance} distance"),
        (_describe_weights(card), _describe_weights(before)),
    ]
    changes = [f"{mine} (version {int(live.name)}: {its})" for mine, its in pairs if mine != its]
    parameters = f"; other parameters: {', '.join(changes)}" if changes else ""
    values = describe_category_changes(before, card)
    return parameters + (f"; other category values: {values}" if values else "")


def _describe_weights(card: ModelCard) -> str:
    weights = zip(card.feature_names, card.parameters.feature_weight or (), strict=False)
    others = [f"{name}: {weight:g}" for name, weight in weights if weight != 1]
    return f"weights {shorten_names(others)}" if others else "no weights of features"
