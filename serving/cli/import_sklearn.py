"""``tfkmeans import-sklearn``: a fitted scikit-learn k-means becomes a published version."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from export.addresses import model_name
from export.publishing import publish
from serving.tables.messages import format_count

from .arguments import JsonOption, examples, local_folder
from .errors import MissingExtra, UserMistake
from .gate_options import GateOptions, comparison_as_json
from .label_options import DryRunOption
from .option_groups import flat_options
from .publish import describe_left_out, describe_publish
from .tensorflow_import import load_tensorflow
from .terminal import print_fields, print_json, progress

if TYPE_CHECKING:
    from export.comparison import Comparison

EXAMPLES: Final = examples(
    (
        "A model that scikit-learn fitted",
        "tfkmeans import-sklearn model.joblib --model models/customers",
    ),
)


@flat_options
def import_sklearn(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What joblib.dump wrote, by who you trust.")
    ],
    model: Annotated[
        Path,
        typer.Option("--model", parser=local_folder, metavar="BASE", help="Folder of the model."),
    ],
    columns: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Names of the features, in their order."),
    ] = None,
    gate: GateOptions = GateOptions(),
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Publish a fitted KMeans or MiniBatchKMeans, alone or in a Pipeline after a StandardScaler.

    Loading a joblib file runs what is in it: never load one that you do not trust.
    """
    estimator = _load(file)
    comparisons: list[Comparison] = []
    with progress("importing") as tell, tempfile.TemporaryDirectory(prefix="tfkmeans-") as scratch:
        tell("loading TensorFlow")
        load_tensorflow("train")
        from export import write_candidate
        from export.sklearn_import import from_sklearn

        given = None if columns is None else [name.strip() for name in columns.split(",")]
        imported = from_sklearn(
            estimator, feature_names=given, model=model_name(model), origin=str(file)
        )
        candidate = Path(scratch) / "candidate"
        write_candidate(candidate, imported.module, imported.card, imported.rows)
        tell("loading it back and replaying its golden requests")
        names = imported.card.feature_names
        with gate.for_publishing(str(model), names, comparisons, as_json=json) as options:
            version = publish(candidate, model, dry_run=dry_run, name=str(file), **options)
    card = imported.card
    effect = describe_publish(model, version, dry_run=dry_run)
    if json:
        print_json(
            {
                "model": str(model),
                "version": version,
                "path": str(model / str(version)),
                "dry_run": dry_run,
                "n_clusters": card.n_clusters,
                "columns": list(card.feature_names),
                "signatures_left_out": list(card.signatures_left_out),
                "comparison": comparison_as_json(comparisons),
                "server": effect,
            }
        )
        return
    print_fields(
        f"{'would publish' if dry_run else 'published'} {model / str(version)}",
        [
            ("from", card.data.files[0]),
            ("clusters", format_count(card.n_clusters, "cluster")),
            ("columns", ", ".join(card.feature_names)),
            *describe_left_out(card),
            ("server", effect),
        ],
    )


def _load(file: Path) -> Any:
    try:
        import joblib  # type: ignore[import-untyped]
        import sklearn  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"this command needs {error.name}, which is not installed: pip install scikit-learn"
        ) from error
    if not file.is_file():
        raise UserMistake(f"{file}: there is no such file; name one that joblib.dump wrote")
    try:
        return joblib.load(file)
    # Unpickling raises whatever the file's content makes it raise.
    except Exception as error:
        said = " ".join(str(error).split())
        raise UserMistake(
            f"{file}: cannot be loaded: {type(error).__name__}: {said}; name a file that "
            "joblib.dump wrote with this version of scikit-learn"
        ) from error
