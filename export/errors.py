"""Errors between a fitted module and a published version.

Each message is one line with the place, the value and the correction.
"""


class ExportError(Exception):
    """Base of the errors of this package about external input.

    Example:
        >>> from tfkmeans import ExportError, load
        >>> try:
        ...     load("models/none")
        ... except ExportError as error:
        ...     print(type(error).__name__)
        NotAModel
    """


class NotAModel(ExportError):
    """A folder is not the folder of a model: it does not exist, or has no version.

    Example:
        >>> from tfkmeans import load
        >>> load("models/none")
        Traceback (most recent call last):
            ...
        export.errors.NotAModel: models/none: no such folder; give the folder of a model
    """


class VersionNotFound(ExportError):
    """A model has no version with this number or label.

    Example:
        >>> from tfkmeans import load
        >>> load("models/customers", version=7)
        Traceback (most recent call last):
            ...
        export.errors.VersionNotFound: models/customers: has no version 7; there is 1
    """


class InvalidCandidate(ExportError):
    """A version directory lacks a part, or a part cannot be read.

    Example:
        >>> from tfkmeans import publish
        >>> publish("no-folder", "models/customers")
        Traceback (most recent call last):
            ...
        export.errors.InvalidCandidate: no-folder: no such folder; give a version directory
    """


class CandidateNotWritten(ExportError):
    """A candidate could not be written to the given folder.

    Example:
        >>> from tfkmeans import fit, make_card, write_candidate
        >>> import numpy as np
        >>> points = np.array([[0.0, 1.0], [1.0, 0.0], [8.0, 9.0], [9.0, 8.0]], np.float32)
        >>> result = fit(points, n_clusters=2, seed=0)
        >>> card = make_card(result, points, feature_names=["age", "income"])
        >>> write_candidate("models", result, card, points)
        Traceback (most recent call last):
            ...
        export.errors.CandidateNotWritten: models: already exists; give a new folder
    """


class PublishRefused(ExportError):
    """The validation of a candidate failed.

    Example:
        >>> from tfkmeans import PublishRefused, Thresholds, publish
        >>> strict = Thresholds(min_rows_kept=1.1)  # more rows than there are
        >>> try:
        ...     publish("models/customers/1", "models/customers", thresholds=strict)
        ... except PublishRefused as error:
        ...     print("refused" in str(error))
        True
    """


class ValidationTimedOut(PublishRefused):
    """The validation of a candidate exceeded its time.

    Example:
        >>> from tfkmeans import validate
        >>> validate("models/customers/1", timeout=0.001)
        Traceback (most recent call last):
            ...
        export.errors.ValidationTimedOut: models/customers/1: refused: validation did not end...
    """


class PublishFailed(ExportError):
    """A new version could not be written to the folder of the model.

    Example:
        >>> from pathlib import Path
        >>> from tfkmeans import publish
        >>> Path("file").touch()
        >>> publish("models/customers/1", "file/customers")
        Traceback (most recent call last):
            ...
        export.errors.PublishFailed: file/customers: cannot publish: File exists...
    """


class InvalidModelsConfig(ExportError):
    """The ``models.config`` of the models cannot be read or edited.

    Example:
        >>> from pathlib import Path
        >>> from shutil import copytree
        >>> from tfkmeans import load
        >>> base = copytree("models/customers", "damaged/customers")
        >>> Path("damaged/models.config").write_text("model_config_list {")
        19
        >>> load("damaged/customers")
        Traceback (most recent call last):
            ...
        export.errors.InvalidModelsConfig: ...damaged/models.config:1:19 :...
    """


class HistoryNotWritten(ExportError):
    """A label has moved in ``models.config``, but ``history.jsonl`` could not be written."""


class UnreadableHistory(ExportError):
    """``history.jsonl``, or a line of it, cannot be read, so the previous version is unknown."""


class MoveRefused(ExportError):
    """A label cannot be moved as requested.

    Example:
        >>> from pathlib import Path
        >>> from export.label_moves import rollback
        >>> from export.repository import config_entry
        >>> base = Path("models/customers")
        >>> rollback(base, config_entry(base))
        Traceback (most recent call last):
            ...
        export.errors.MoveRefused: ...
    """


class MoveFailed(ExportError):
    """A server did not apply a move; ``models.config`` was restored.

    The commands ``promote``, ``canary`` and ``rollback`` then end with exit code 3.

    Example:
        >>> from tfkmeans import ExportError, MoveFailed
        >>> issubclass(MoveFailed, ExportError)
        True
    """


class UnsupportedEstimator(ExportError):
    """A scikit-learn estimator is not fitted, or not a supported k-means.

    Example:
        >>> from sklearn.cluster import KMeans
        >>> from tfkmeans import from_sklearn
        >>> from_sklearn(KMeans(2))
        Traceback (most recent call last):
            ...
        export.errors.UnsupportedEstimator: scikit-learn: KMeans is not fitted; call its fit first
    """
