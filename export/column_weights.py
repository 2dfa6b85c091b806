"""The weights of the columns of a model in the distance, from its card."""

from .feature_names import group_vectors, shorten_names
from .model_card import ModelCard


def weights_by_column(card: ModelCard) -> dict[str, float]:
    """Return the weights of the columns of a model, except weights of 1."""
    weights = card.parameters.feature_weight
    if weights is None:
        return {}
    widths = [(each.name, len(each.feature_names)) for each in card.columns]
    found, start = {}, 0
    for name, width in widths or group_vectors(card.feature_names):
        found[name] = weights[start]
        start += width
    return {name: weight for name, weight in found.items() if weight != 1}


def describe_weights(card: ModelCard) -> str:
    """Format ``weights_by_column`` for people."""
    return shorten_names([f"{name}: {each:g}" for name, each in weights_by_column(card).items()])
