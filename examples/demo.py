"""The main job on real data: train, publish, serve, ask, score, and compare the answers.

Run by ``make demo``. Usage: python examples/demo.py [FOLDER], by default ``models``.
"""

import csv
import io
import json
import os
import shlex
import sys
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from export import load
from serving import Assignment, GrpcClient, RestClient
from serving.cli import main as tfkmeans
from serving.cli.terminal import print_fields

ROWS = Path(__file__).parent / "penguins.csv"
COLUMNS = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")


class DemoFailed(Exception):
    """A step did not do what it should."""


def run(*arguments: str | Path) -> dict[str, object]:
    """Run a command of ``tfkmeans`` as a user would, and read what it says to machines."""
    words = [str(argument) for argument in arguments]
    print("$ tfkmeans", shlex.join(words))
    said = io.StringIO()
    with redirect_stdout(said):
        code = tfkmeans([*words, "--json"])
    if code == 130:  # it has said so
        sys.exit(code)
    if code != 0:
        raise DemoFailed(f"tfkmeans {shlex.join(words)} ended with exit code {code}")
    answer: dict[str, object] = json.loads(said.getvalue())
    return answer


def read_penguins() -> tuple[NDArray[np.float32], list[str]]:
    """The measurements float32 [n, 4], NaN where one is missing, and the species of each row."""
    with ROWS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    points = [[np.nan if row[c] == "NA" else float(row[c]) for c in COLUMNS] for row in rows]
    return np.array(points, np.float32), [row["species"] for row in rows]


def ask_server(base: Path, points: NDArray[np.float32]) -> dict[str, Assignment]:
    """The answers over gRPC and over REST of a server that runs for as long as this takes."""
    from serving.embedded import EmbeddedServer

    name = base.name
    with EmbeddedServer(model_name=name, model_base_path=base) as server:
        print(f"serving {name}: gRPC on {server.grpc_address}, REST on {server.rest_address}")
        assert server.grpc_address is not None
        assert server.rest_address is not None
        with (
            GrpcClient(server.grpc_address, name) as grpc_client,
            RestClient(server.rest_address, name) as rest_client,
        ):
            grpc_client.wait_until_ready()
            rest_client.wait_until_ready()
            return {"gRPC": grpc_client.assign(points), "REST": rest_client.assign(points)}


def read_answers(folder: Path, rows: int) -> Assignment:
    """The answers that batch scoring wrote; the rows that it rejected have -1, as elsewhere."""
    scored, rejected = (pq.read_table(folder / name) for name in ("scored", "rejected"))
    good = np.ones(rows, bool)
    good[rejected["row"].to_numpy() - 1] = False
    cluster_index, distance = np.full(rows, -1, np.int32), np.full(rows, -1, np.float32)
    cluster_index[good] = scored["cluster_index"].to_numpy()
    distance[good] = scored["distance"].to_numpy()
    return Assignment(cluster_index, distance, None)


def require_equal(answers: dict[str, Assignment]) -> None:
    """Row for row the same cluster, and the same distance but for rounding.

    Raises DemoFailed with the first row that differs.
    """
    (first, wanted), *others = answers.items()
    for name, given in others:
        same = (given.cluster_index == wanted.cluster_index) & np.isclose(
            given.distance, wanted.distance, rtol=1e-6, atol=0
        )
        if not same.all():
            row = int(np.argmin(same))
            raise DemoFailed(
                f"row {row + 1}: {first} says cluster {wanted.cluster_index[row]} at "
                f"{wanted.distance[row]}, {name} says {given.cluster_index[row]} at "
                f"{given.distance[row]}"
            )


def agreement(clusters: NDArray[np.int32], species: list[str]) -> str:
    """How many penguins are of the species that is most frequent in their cluster."""
    pairs = Counter(
        (int(cluster), name)
        for cluster, name in zip(clusters, species, strict=True)
        if cluster >= 0
    )
    most: dict[int, int] = {}
    for (cluster, _), count in pairs.items():
        most[cluster] = max(most.get(cluster, 0), count)
    return f"{sum(most.values())} of {pairs.total()} are of their cluster's main species"


def main(folder: Path) -> None:
    """Go the whole way, below ``folder``."""
    rows = Path(os.path.relpath(ROWS))
    model, clusters = folder / "penguins", folder / "penguins-clusters"
    page = folder / "penguins.html"
    folder.mkdir(parents=True, exist_ok=True)
    trained = run(
        *("train", rows, "--model", model, "--clusters", "3", "--standardize"),
        *("--columns", ",".join(COLUMNS), "--n-init", "10", "--report", page),
    )
    number = str(trained["version"])  # of a second demo it is not live yet
    scored = run(
        *("batch-score", rows, clusters, "--model", model, "--version", number, "--overwrite")
    )
    points, species = read_penguins()
    version = load(model, int(number))
    answers = {
        "in process": version.assign(points),
        **ask_server(model, points),
        "batch": read_answers(clusters, len(points)),
    }
    require_equal(answers)

    print()
    print_fields(
        f"{model.name}, version {version.version}",
        [
            ("rows", f"{trained['rows_used']} used, {trained['rows_left_out']} left out"),
            ("k", str(trained["n_clusters"])),
            ("iterations", str(trained["n_iter"])),
            ("inertia", f"{trained['inertia']:.2f}"),
            ("silhouette", f"{trained['silhouette']:.4f}"),
            ("species", agreement(answers["in process"].cluster_index, species)),
            ("equal answers", f"{', '.join(answers)}: {scored['rows']} rows each"),
            ("model", f"{version.directory}/"),
            ("card", str(Path(version.directory, "assets.extra", "model_card.json"))),
            ("clusters", f"{clusters}/"),
            ("report", str(page)),
        ],
    )


if __name__ == "__main__":
    try:
        main(Path(*sys.argv[1:]) if sys.argv[1:] else Path("models"))
    except DemoFailed as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
