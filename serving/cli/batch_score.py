"""``tfkmeans batch-score``: the cluster of every row of files, into a file."""

from pathlib import Path
from typing import Annotated, Final

import typer

from .arguments import (
    JsonOption,
    ModelOption,
    VersionOption,
    counted,
    examples,
    published,
)
from .extras import needs_extra
from .tensorflow_loading import load_tensorflow
from .terminal import note, print_fields, print_json, progress

EXAMPLES: Final = examples(
    (
        "The cluster and the distance of each row, as Parquet",
        "tfkmeans batch-score rows.csv clusters.parquet --model models/customers",
    ),
    (
        "Of several files, by a version that is not the highest",
        "tfkmeans batch-score in/*.parquet out.csv --model models/customers --version 2",
    ),
)


def batch_score(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="IN", help="CSV, Parquet or .npy files of rows.")
    ],
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="The file to write: .csv or .parquet.")
    ],
    model: ModelOption,
    version: VersionOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT when it exists.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Write the cluster and the distance of each row of the inputs to OUT, in their order.

    OUT has the columns cluster_index and distance; a row with a missing value has -1 in both.
    """
    directory, number, card = published(model, version)
    with needs_extra("batch"):
        from serving.batch.job import extra_columns, model_columns, score_files
        from serving.batch.readers import open_table
        from serving.batch.writers import check_output

        tables = [open_table(path) for path in inputs]
    # All that can be known is checked before TensorFlow is loaded.
    check_output(output, overwrite=overwrite)
    for table in tables:
        model_columns(table, card.feature_names)
    if ignored := extra_columns(tables, card.feature_names):
        note(f"ignored {counted(len(ignored), 'column')}: {', '.join(map(str, ignored))}")
    with progress("scoring") as tell:
        tell("loading the model")
        load_tensorflow("train")
        from serving.batch.scorer import LocalScorer

        scorer = LocalScorer(directory)
        done = 0

        def on_rows(count: int) -> None:
            nonlocal done
            done += count
            tell(counted(done, "row"))

        report = score_files(
            tables, output, scorer, card.feature_names, overwrite=overwrite, on_rows=on_rows
        )
    if json:
        print_json(
            {
                "model": str(model),
                "version": number,
                "output": str(report.output),
                "rows": report.rows,
                "rows_not_scored": report.rows_not_scored,
                "seconds": round(report.seconds, 3),
            }
        )
        return
    print_fields(
        f"wrote {report.output}",
        [
            ("model", f"{model}, version {number}"),
            ("rows", f"{report.rows:,}"),
            ("not scored", f"{report.rows_not_scored:,} (missing or infinite values; -1 in OUT)"),
            ("seconds", f"{report.seconds:.2f}"),
        ],
    )
