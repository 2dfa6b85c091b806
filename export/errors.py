"""What can go wrong between a fitted module and a published version.

Each message is one line that names the place, the value and the mend.
"""


class ExportError(Exception):
    """Base of every error that this package raises for what comes from outside."""


class NotAModel(ExportError):
    """A folder is not the folder of a model: it does not exist, or holds no version."""


class VersionNotFound(ExportError):
    """A model has no version of that number."""


class InvalidCandidate(ExportError):
    """A version directory lacks a part, or a part cannot be read."""


class CandidateNotWritten(ExportError):
    """A candidate could not be written where it was asked for."""


class PublishRefused(ExportError):
    """The validation of a candidate did not pass."""


class ValidationTimedOut(PublishRefused):
    """The validation of a candidate did not end in its time."""


class PublishFailed(ExportError):
    """The folder of the model does not take a new version."""


class InvalidModelsConfig(ExportError):
    """The ``models.config`` beside the models cannot be read, or is not one this can edit."""


class HistoryNotWritten(ExportError):
    """A label has moved in ``models.config``, and ``history.jsonl`` does not take the line."""


class UnreadableHistory(ExportError):
    """``history.jsonl``, or a line of it, cannot be read, so that the way back is not known."""


class MoveRefused(ExportError):
    """A label cannot be moved as was asked."""


class MoveFailed(ExportError):
    """A server did not follow a move; ``models.config`` is what it was before."""


class UnsupportedEstimator(ExportError):
    """A scikit-learn estimator is not fitted, or no k-means that can be imported."""
