"""Write a candidate: a complete version directory that no server reads yet."""

import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kmeans_module import FitResult, RowSource
from kmeans_module.quiet_tensorflow import tf

from . import batching, file_hashes, golden_requests, warmup
from .column_inputs import name_columns
from .column_rows import ColumnRows
from .drawn_rows import draw_around_centroids
from .errors import CandidateNotWritten, InvalidCandidate
from .model_card import ModelCard, distance_space
from .row_measures import sample_numbers, take_rows
from .sample_rows import most_rows
from .sample_rows import write as write_sample

if TYPE_CHECKING:
    from kmeans_module import KMeansModule


def write_candidate(
    directory: str | Path,
    fitted: "FitResult | KMeansModule",
    card: ModelCard,
    points: NDArray[Any] | RowSource,
    columns: ColumnRows | None = None,
    *,
    sample_rows: bool = True,
) -> None:
    """Write a fitted model as a version directory, atomically.

    Args:
      directory: a path that does not exist; parent folders are created.
      fitted: the result of a fit, or a module.
      card: the card of the fit, from ``make_card``.
      points: [n, d], n > 0, raw units: the rows of the fit. The warm-up and the golden requests
        use some of them; for a source, those of a uniform sample.
      columns: the same rows as columns, for a model that takes columns by name; for a source, the
        rows of `travelling_rows`. Without them, the warm-up and the golden requests use no columns.
      sample_rows: whether the version may contain rows of the fit. If not, no file of it contains
        any: the requests use rows that are drawn around the centroids.

    Raises:
      CandidateNotWritten: ``directory`` exists, or writing failed; no file is left.
      InvalidCandidate: the points do not fit the model, or the card contradicts it.

    Example:
        >>> import numpy as np
        >>> from tfkmeans import fit, make_card, write_candidate
        >>> points = np.array([[0.0, 1.0], [1.0, 0.0], [8.0, 9.0], [9.0, 8.0]], np.float32)
        >>> result = fit(points, n_clusters=2, seed=0)
        >>> card = make_card(result, points, feature_names=["age", "income"])
        >>> write_candidate("candidate", result, card, points)
    """
    module = fitted.module if isinstance(fitted, FitResult) else fitted
    if len(points.shape) != 2 or not len(points) or points.shape[1] != card.n_features:
        raise InvalidCandidate(
            f"points have shape {points.shape}, and the model needs [n, {card.n_features}] with at "
            "least one row"
        )
    _check_card(card, module, fitted if isinstance(fitted, FitResult) else None)
    directory = Path(directory)
    if os.path.lexists(directory):
        raise CandidateNotWritten(f"{directory}: already exists; give a new folder")
    partial = directory.with_name(f".{directory.name}.partial-{secrets.token_hex(4)}")
    if isinstance(points, RowSource):
        points = take_rows(points, travelling_rows(points, card.parameters.seed))
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        write_version(
            partial,
            module=module,
            card=card,
            points=points,
            columns=columns,
            sample_rows=sample_rows,
        )
        partial.rename(directory)
    except OSError as error:
        why = error.strerror or str(error)
        raise CandidateNotWritten(f"{directory}: cannot be written: {why}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_card(card: ModelCard, module: "KMeansModule", result: FitResult | None) -> None:
    """Raise InvalidCandidate if the card contradicts the model or its fit."""
    shift, scale = (tuple(each.numpy().tolist()) for each in (module.shift, module.scale))
    facts: dict[str, Any] = {
        "n_clusters": module.n_clusters,
        "n_features": module.n_features,
        "shift": shift,
        "scale": scale,
        "distance": module.distance,
        "distance_space": distance_space(module.distance),
        "columns": () if module.encoder is None else module.encoder.columns,
        "signatures_left_out": module.signatures_left_out,
    }
    if module.parameters is not None:
        facts |= asdict(module.parameters)
    elif any(each != 1 for each in scale):
        facts["standardize"] = True
    if result is not None:
        facts |= {name: getattr(result, name) for name in ("n_iter", "converged", "inertia")}
    for name, value in facts.items():
        stated = getattr(card if hasattr(card, name) else card.parameters, name)
        if stated != value:
            raise InvalidCandidate(
                f"the model card says {name} {str(stated)[:60]}, and the model has "
                f"{str(value)[:60]}; make the card with make_card from this fit"
            )


def is_card_of(card: ModelCard, result: FitResult) -> bool:
    """Whether a card belongs to a fit, with equal bits of each iteration."""
    try:
        _check_card(card, result.module, result)
    except InvalidCandidate:
        return False
    taken = [(each.inertia, each.shift) for each in result.history]
    return taken == [(each.inertia, each.shift) for each in card.history]


def write_version(
    directory: Path,
    *,
    module: "KMeansModule",
    card: ModelCard,
    points: NDArray[Any],
    columns: ColumnRows | None = None,
    sample_rows: bool = True,
) -> None:
    """Write every part of a version to a new folder. Raises OSError."""
    directory.mkdir()
    signatures, over_columns = module.signatures, module.column_signatures()
    seed = card.parameters.seed
    if not sample_rows:
        spread = max(card.distance_quantiles.get("0.5", 0.0), 1e-6) / card.n_features**0.5
        points, columns = draw_around_centroids(module, spread)
    asked = columns if over_columns else None

    def answer(signature: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        tensors = {name: tf.constant(inputs[name]) for name in inputs}
        if signature in over_columns:
            outputs = over_columns[signature](*tensors.values())
        else:
            outputs = signatures[signature](**tensors)
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    try:
        write_saved_model(directory, module, card.feature_names)
        warmup.write(directory, points, model=card.model, columns=asked)
        requests = golden_requests.choose(points, card.n_clusters, answer, seed=seed, columns=asked)
        golden_requests.write(directory, requests)
        if sample_rows:
            write_sample(directory, points, seed=seed, columns=columns)
        batching.write(directory)
        # Last, because it contains the hashes of all other files.
        replace(card, files_sha256=file_hashes.hash_files(directory)).write(directory)
    except tf.errors.OpError as error:
        raise OSError(error.message) from error


def travelling_rows(source: RowSource, seed: int) -> NDArray[np.int64]:
    """Return the numbers of the rows of a source that a version contains, in their order."""
    n, d = source.shape
    return sample_numbers(n, most_rows(d), seed)


def write_saved_model(
    version_directory: Path, module: "KMeansModule", feature_names: Sequence[str] | None = None
) -> None:
    """Write the SavedModel of ``module``, with every signature of the served contract.

    With ``feature_names``, in the order of the columns, it has also the signatures over
    tf.Examples, and with an encoder those over columns, up to
    ``kmeans_module.contract.MOST_COLUMNS`` columns.

    Raises OSError or tf.errors.OpError if writing fails.
    """
    signatures = module.signatures | module.column_signatures()
    if feature_names is not None and not module.signatures_left_out:
        signatures |= module.example_signatures(feature_names)
    tf.saved_model.save(module, str(version_directory), signatures=signatures)
    if module.encoder is not None:
        name_columns(version_directory, [column.name for column in module.encoder.columns])
