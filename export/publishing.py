"""A candidate or a fit becomes the next version of a model, whole or not at all.

Imports no TensorFlow for a candidate and a folder.
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
    """How a version is published; each may be left out.

    Keys:
      timeout: seconds that the validation may take; 600.
      thresholds: how far the new version may be from the version that is live.
      holdout: an .npy file of rows [n, d], raw units, to compare the two on, or of a version that
        takes columns by name an .npz file with ``column/NAME``, an array for each; by default the
        rows that travel with the new version.
      force: publish it however far it is; its card says so. What does not load or does not answer
        as recorded is refused all the same.
      served_at: the folder of the model as the server sees it, when the entry in ``models.config``
        is first written; by default the absolute path of the folder.
      served_as: the name that the model is served under, in that entry; by default the folder's.
      on_comparison: is told the figures, before they are held against the thresholds.
      tell: is told that somebody else is being waited for, what could not be compared because no
        rows travel with the versions, which values of categories the new version does not know any
        more and which only it knows, and what is published and cannot be read by a server that runs
        as another user.

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
    """Publish a copy of a candidate as the next version of a model, whole or not at all.

    Safe to call from many processes at once where ``base`` is a folder: each takes a number of its
    own, and none changes a version that is there. ``base`` and its parents are made when they do
    not exist. The first version is entered in ``models.config`` as ``stable``; a later one is
    served once promoted. What an object store promises less: ``export.storage.GFileStorage``.

    Args:
      candidate: a version directory, as ``write_candidate`` makes it. It stays where it is.
      base: the folder of the model, or its address as a string, ``gs://bucket/models/customers``.
      dry_run: do all but publish.
      name: what a refusal calls the candidate; its folder by default.
      options: see ``export.publishing.PublishOptions``.

    Returns:
      The number of the new version, which is one above the highest there ever was, or 1.

    Raises:
      InvalidCandidate: the candidate is incomplete.
      PublishRefused: the validation did not pass, or it is too far from the live version.
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
    """Publish a fit as the next version of a model: what ``tfkmeans train`` does after the fit.

    The card is measured, the version is written beside the versions that are there, loaded in a
    fresh process, compared with the live version and renamed.

    Args:
      result: what ``fit`` gave for ``points``, or a ``KMeans`` that was fitted to them, in whose
        order the columns of a frame are taken.
      points: [n, d], raw units, of any kind that ``fit`` takes: the rows that were fitted; written
        and measured as float32. Of a fit of columns, the table. The rows of a source are read once
        more, and a uniform sample of them takes their place in what travels with the version.
      base: the folder of the model, whose name the model is served by, or its address as a string.
      feature_names: d names, in the order of the columns; by default those of a data frame, an
        Arrow table or a named series of vectors, ``embedding[0]``, ``embedding[1]``, ...
      files: where the rows came from.
      rows_left_out: rows that were read and not used, for a missing value say.
      weight_column: the name of the column that the fit's weights were from.
      sample_rows: whether up to 4,096 of the rows may travel with the version, for the publish gate
        and the reports. If not, as where they are personal data, none is in any file of it, and
        ``options["tell"]`` is told what could not be compared for it.
      take_columns: of the fit of columns over a source: gives the table of the rows with these
        numbers, int64 [m], which rise.
      options: see ``export.publishing.PublishOptions``.

    Returns:
      The new version.

    Raises:
      InvalidCandidate: the points or the names are not those of the fit.
      NotFitted: a ``KMeans`` that there was no fit of.
      PublishRefused, PublishFailed, InvalidModelsConfig: as by ``publish``.

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
    """The names of a source's features. Raises InvalidCandidate."""
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
    """The columns of the rows with these numbers. Raises InvalidCandidate."""
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
    """The rows of a table as the columns that a model takes, and the points that it makes of them.

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
    """The rows in the order of the fit, and the names of their columns. Raises InvalidCandidate."""
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
    """The line for points without names, with the call that names them."""
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
    """Raise TypeError for an option that there is not, as for a parameter."""
    for name in options:
        if name not in PublishOptions.__annotations__:
            raise TypeError(
                f"{function}() got an unexpected keyword argument {name!r}; "
                f"its options are {', '.join(PublishOptions.__annotations__)}"
            )


@contextmanager
def _open(base: str | Path, options: PublishOptions) -> Iterator[Storage]:
    """The storage that ``base`` is in. Its errors in the block become PublishFailed."""
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
    """Validate a version; gives what was found against it and overridden by force.

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
    # Only a new version must have every kind: `validate` takes older ones too.
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
    """The card of the live version; None where it cannot be read, which the comparison has said."""
    try:
        return ModelCard.read(live)
    except InvalidCandidate:
        return None


def _describe_changes(before: ModelCard | None, card: ModelCard, live: Path) -> str:
    """What differs from the live version, which may be why a version is so far from it.

    Of the columns the comparison has said it already.
    """
    if before is None:
        return ""
    scaling = {True: "standardized", False: "not standardized"}
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
