"""``tfkmeans inspect``: the content of a model folder, read without TensorFlow."""

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from export.column_weights import describe_weights
from export.feature_names import shorten_names, show_name
from export.repository import versions
from kmeans_module.contract import SIGNATURES, TensorContract
from serving.report.numbers import format_number

from .arguments import JsonOption, LocalModelOrPlace, examples, local_folder
from .errors import UserMistake
from .option_groups import flat_options
from .publish import describe_left_out
from .terminal import print_fields, print_json
from .version_options import VersionOptions

if TYPE_CHECKING:
    from export.model_card import ModelCard

_SHOWN_CLUSTERS: Final = 100
_SHOWN_COLUMNS: Final = 40

EXAMPLES: Final = examples(
    ("The versions of a model, and the card of the live one", "tfkmeans inspect models/customers"),
    ("Another version, as JSON", "tfkmeans inspect models/customers 2 --json"),
)


@flat_options
def inspect_model(
    place: Annotated[
        str | None, typer.Argument(metavar="BASE", help="Folder of the model.")
    ] = None,
    second: Annotated[
        str | None,
        typer.Argument(metavar="VERSION", help="A version; by default the live one."),
    ] = None,
    version: VersionOptions = VersionOptions(),
    model: LocalModelOrPlace = None,
    json: JsonOption = False,
) -> None:
    """Show the versions of a model, and the signatures and the card of one."""
    base, number = _base_and_version(place, second, model)
    directory, number, card = version.or_place(number).read(base)
    if json:
        print_json(
            {
                "model": str(base),
                "versions": versions(base),
                "version": number,
                "path": str(directory),
                "signatures": {
                    name: {
                        "inputs": _tensors(signature.inputs, card),
                        "outputs": _tensors(signature.outputs, card),
                    }
                    for name, signature in {**SIGNATURES, **card.column_signatures}.items()
                },
                "card": json_text.loads(card.to_json()),
            }
        )
        return
    _show(base, number, directory, card)


def _base_and_version(
    place: str | None, version: str | None, model: Path | None
) -> tuple[Path, int | None]:
    """The folder and the version; with ``--model BASE``, the first argument is the version."""
    if model is not None:
        if version is not None:
            raise UserMistake(f"the model is given twice, as {place} and {model}; give it once")
        version = place
    elif place is None:
        raise UserMistake("specify BASE, the folder of the model")
    else:
        model = local_folder(place)
    if version is not None and not (version.isascii() and version.isdigit()):
        raise UserMistake(f"{version!r} is not a version; give a whole number")
    return model, None if version is None else int(version)


def _tensors(tensors: tuple[TensorContract, ...], card: "ModelCard") -> dict[str, Any]:
    """dtype and shape of each tensor, with -1 for a dimension that the caller chooses."""
    return {
        tensor.name: {
            "dtype": tensor.dtype,
            "shape": [size if isinstance(size, int) else -1 for size in _shape(tensor, card)],
        }
        for tensor in tensors
    }


def _shape(tensor: TensorContract, card: "ModelCard") -> list[int | str]:
    """The fixed sizes of the model, and the letters of the contract for the others."""
    sizes: dict[str, int | str] = {"d": card.n_features}
    # fit_step takes as many centroids as it is given; elsewhere k is the model's own.
    if "b" not in tensor.shape:
        sizes["k"] = card.n_clusters
    return [int(each) if each.isdigit() else sizes.get(each, each) for each in tensor.shape]


def _show(base: Path, number: int, directory: Path, card: "ModelCard") -> None:
    silhouette = card.silhouette.value
    parameters = card.parameters
    print_fields(
        f"{base}, version {number} of {', '.join(map(str, versions(base)))}",
        [
            ("folder", str(directory)),
            ("created", f"{card.created}, TensorFlow {card.tensorflow_version}"),
            ("columns" if card.encoder is None else "features", shorten_names(card.feature_names)),
            *([("feature weights", weighed)] if (weighed := describe_weights(card)) else []),
            ("standardised", "yes, in the model" if card.standardize else "no"),
            ("distance", card.distance),
            ("rows", f"{card.data.rows_used:,} used, {card.data.rows_left_out:,} left out"),
            *([("weights", weights)] if (weights := card.data.weight_column) else []),
            ("files", ", ".join(card.data.files) or "unknown"),
            ("clusters", str(card.n_clusters)),
            (
                "parameters",
                f"init {parameters.init}, n_init {parameters.n_init}, "
                f"max_iter {parameters.max_iter}, tol {parameters.tol:g}, seed {parameters.seed}",
            ),
            ("iterations", f"{card.n_iter} ({'converged' if card.converged else 'not converged'})"),
            ("inertia", format_number(card.inertia, 6)),
            ("silhouette", "undefined" if silhouette is None else f"{silhouette:.4f}"),
        ],
    )
    _show_columns(card)
    typer.echo("\n  cluster  rows  share  median distance")
    for cluster in card.clusters[:_SHOWN_CLUSTERS]:
        median = cluster.distance_quantiles.get("0.5")
        shown = "" if median is None else f"{median:.4g}"
        typer.echo(f"  {cluster.index:>7}  {cluster.size:>4}  {cluster.share:>5.1%}  {shown:>15}")
    if (more := len(card.clusters) - _SHOWN_CLUSTERS) > 0:
        typer.echo(f"  and {more:,} more; see --json")
    typer.echo("\n  signatures")
    for name, signature in SIGNATURES.items():
        taken = ", ".join(_describe(tensor, card) for tensor in signature.inputs)
        given = ", ".join(_describe(tensor, card) for tensor in signature.outputs)
        typer.echo(f"    {name}({taken}) -> {given}")
    if card.column_signatures:
        typer.echo(f"    {', '.join(card.column_signatures)}: the columns, by their names")
    for left_out, which in describe_left_out(card):
        typer.echo(f"    {left_out}: {which}")


def _show_columns(card: "ModelCard") -> None:
    """The columns that the model encodes, if any."""
    if card.encoder is None:
        return
    columns = card.encoder.columns
    names = [show_name(column.name) for column in columns[:_SHOWN_COLUMNS]]
    width = max(map(len, names))
    typer.echo("\n  columns")
    for name, column in zip(names, columns, strict=False):
        typer.echo(f"    {name:<{width}}  {column.describe()}")
    if (more := len(columns) - _SHOWN_COLUMNS) > 0:
        typer.echo(f"    and {more:,} more; see --json")
    for each in card.encoder.maps:
        typer.echo(f"    then {each}: features, points and centroids are its output")


def _describe(tensor: TensorContract, card: "ModelCard") -> str:
    return f"{tensor.name} {tensor.dtype} [{', '.join(map(str, _shape(tensor, card)))}]"
