"""``tfkmeans import-sklearn``: publish a fitted scikit-learn k-means."""

import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from export.addresses import model_name
from export.feature_names import shorten_names
from export.publishing import publish
from serving.tables.messages import format_count

from .arguments import JsonOption, examples, local_folder
from .errors import MissingExtra, UserMistake
from .gate_options import GateOptions, comparison_as_json
from .input_tables import FileOptions
from .label_options import DryRunOption
from .option_groups import flat_options
from .publish import describe_left_out, describe_publish
from .tensorflow_import import load_tensorflow
from .terminal import note, print_fields, print_json, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from export.comparison import Comparison

EXAMPLES: Final = examples(
    (
        "Publish a scikit-learn model",
        "tfkmeans import-sklearn model.joblib --model models/customers",
    ),
)


@flat_options
def import_sklearn(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A joblib file from a trusted source.")
    ],
    model: Annotated[
        Path,
        typer.Option("--model", parser=local_folder, metavar="BASE", help="Folder of the model."),
    ],
    columns: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Names of the features, in order."),
    ] = None,
    gate: GateOptions = GateOptions(),
    file_options: FileOptions = FileOptions(),
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Publish a fitted KMeans or MiniBatchKMeans, alone or last in a Pipeline.

    Loading a joblib file runs code from it: load only files from trusted sources.
    """
    estimator, pickled_by = _load(file)
    comparisons: list[Comparison] = []
    reading = file_options.reading(gate.holdout, "--holdout")
    with progress("importing") as tell, tempfile.TemporaryDirectory(prefix="tfkmeans-") as scratch:
        tell("loading TensorFlow")
        load_tensorflow("train")
        from export import write_candidate
        from export.sklearn_import import from_sklearn

        given = None if columns is None else [name.strip() for name in columns.split(",")]
        imported = from_sklearn(
            estimator,
            feature_names=given,
            model=model_name(model),
            origin=str(file),
            pickled_by=pickled_by,
        )
        candidate = Path(scratch) / "candidate"
        write_candidate(candidate, imported.module, imported.card, imported.rows, imported.columns)
        tell("loading it and replaying its golden requests")
        from serving.tables.model_rows import ModelColumns

        takes = ModelColumns.of(imported.card)
        with gate.for_publishing(
            str(model), takes, comparisons, reading=reading, as_json=json
        ) as options:
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
                "pickled_by": pickled_by,
                "n_clusters": card.n_clusters,
                "columns": list(takes.names),
                "features": list(card.feature_names),
                "signatures_left_out": list(card.signatures_left_out),
                "comparison": comparison_as_json(comparisons),
                "server": effect,
            }
        )
        return
    print_fields(
        f"{'Dry run. This would publish' if dry_run else 'published'} {model / str(version)}",
        [
            ("from", card.data.files[0]),
            ("clusters", format_count(card.n_clusters, "cluster")),
            ("columns", takes.shorten()),
            *([("features", shorten_names(card.feature_names))] if card.encoder else []),
            *describe_left_out(card),
            *([] if dry_run else [("server", effect)]),
        ],
    )


def _load(file: Path) -> tuple[Any, str]:
    """The estimator of a file, and the version of scikit-learn that pickled it."""
    try:
        import joblib  # type: ignore[import-untyped]
        import sklearn
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"this command needs {error.name}, which is not installed: pip install scikit-learn"
        ) from error
    if not file.is_file():
        raise UserMistake(f"{file}: no such file; give the path of a joblib file")
    installed = sklearn.__version__

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            estimator = joblib.load(file)
        # Unpickling raises whatever the file's content makes it raise.
        except Exception as error:
            said = " ".join(str(error).split())
            other = _other_version(caught)
            wrote = f", which scikit-learn {other} wrote," if other else ""
            raise UserMistake(
                f"{file}{wrote}: cannot be loaded: {type(error).__name__}: {said}; write it "
                f"again with joblib.dump under scikit-learn {installed}"
            ) from error
    other = _other_version(caught)
    if other is None:
        return estimator, installed
    note(
        f"warning: {file} was pickled by scikit-learn {other} and loaded by {installed}, which "
        f"is not guaranteed to work: compare the answers with predict under scikit-learn {other}"
    )
    return estimator, other


def _other_version(caught: "Sequence[warnings.WarningMessage]") -> str | None:
    """The version of scikit-learn that pickled the file, if a warning names another one."""
    told = (getattr(each.message, "original_sklearn_version", None) for each in caught)
    return next((str(version) for version in told if version is not None), None)
