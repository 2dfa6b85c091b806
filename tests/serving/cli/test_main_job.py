"""The main job by the command alone: train, inspect, assign, batch-score, serve, ask."""

import json
import signal
from pathlib import Path

import numpy as np
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from .command import run
from .conftest import Trained
from .serve_process import serve_process


def test_train_publishes_version_1_and_says_what_it_did(trained: Trained) -> None:
    said = trained.said
    assert said["path"] == str(trained.base / "1")
    assert (trained.base / "1" / "saved_model.pb").is_file()
    assert said["version"] == 1
    assert (said["rows_read"], said["rows_used"], said["rows_left_out"]) == (60, 58, 2)
    assert said["columns"] == ["height", "weight"]
    assert (said["n_clusters"], said["n_init"], said["seed"]) == (3, 10, 5)
    assert sorted(said["cluster_sizes"]) == [18, 20, 20]
    assert said["converged"] is True
    assert said["silhouette"] > 0.8
    assert said["inertia"] > 0


def test_train_says_which_columns_and_rows_it_took_and_nothing_else(trained: Trained) -> None:
    assert trained.process.stderr.splitlines() == [
        "features: 2 numeric columns (height, weight)",
        "left out 1 column (name: text ('id0'))",
        "left out 2 of 60 rows with a missing value (height: 1, weight: 1)",
    ]


def test_inspect_shows_versions_signatures_and_card(trained: Trained) -> None:
    by_place, by_option = (
        run("inspect", *arguments, "--json")
        for arguments in ((trained.base, 1), ("--model", trained.base))
    )
    assert by_place.stdout == by_option.stdout
    shown = json.loads(by_place.stdout)
    assert (shown["versions"], shown["version"]) == ([1], 1)
    assert shown["card"]["feature_names"] == ["height", "weight"]
    assert shown["card"]["model"] == "people"
    assert shown["signatures"]["transform"] == {
        "inputs": {"points": {"dtype": "float32", "shape": [-1, 2]}},
        "outputs": {"all_distances": {"dtype": "float32", "shape": [-1, 3]}},
    }
    assert shown["signatures"]["fit_step"]["inputs"]["centroids"]["shape"] == [-1, -1, 2]
    plain = run("inspect", trained.base).stdout
    assert "decode(cluster_index int32 [n]) -> centroid float32 [n, 2]" in plain
    assert "fit_step(points float32 [b, n, 2]" in plain


def test_assign_and_batch_score_agree_row_for_row(
    trained: Trained, assigned: str, tmp_path: Path
) -> None:
    (tmp_path / "printed.csv").write_text(assigned)
    printed = pacsv.read_csv(tmp_path / "printed.csv")
    output = tmp_path / "out"

    process = run(
        "batch-score", trained.csv, output, "--model", trained.base, "--keep", "name", "--json"
    )

    summary = json.loads(process.stdout)
    assert summary == json.loads((output / "summary.json").read_text())
    assert (summary["rows"], summary["scored"], summary["rejected"]) == (60, 58, 2)
    assert (summary["model"]["version"], summary["output"]) == (1, str(output))
    assert process.stderr == ""
    written = pq.read_table(output / "scored")
    names, clusters, distances = (written[name].to_numpy() for name in written.column_names)
    good = printed["cluster_index"].to_numpy() != -1
    assert np.flatnonzero(~good).tolist() == [1, 4]
    assert names.tolist() == [f"id{row}" for row in np.flatnonzero(good)]
    np.testing.assert_array_equal(clusters, printed["cluster_index"].to_numpy()[good])
    expected = printed["distance"].to_numpy().astype(np.float32)[good]
    np.testing.assert_array_equal(distances, expected)
    rejected = pq.read_table(output / "rejected").to_pylist()
    assert [(row["row"], row["column"]) for row in rejected] == [(2, "height"), (5, "weight")]
    # Rows 0, 1, 2 modulo 3 belong together.
    of = np.flatnonzero(good) % 3
    together = [set(clusters[of == part].tolist()) for part in range(3)]
    assert sorted(map(len, together)) == [1, 1, 1]
    assert set.union(*together) == {0, 1, 2}


@pytest.mark.slow
def test_assign_takes_standard_input_and_points(trained: Trained) -> None:
    rows = "weight,height\n30,0\n0,10\n"
    from_input = run("assign", "-", "--model", trained.base, "--json", stdin=rows)
    from_points = run(
        "assign", "--model", trained.base, "--json", "--point", "0,30", "--point", "10, 0"
    )
    assert from_input.returncode == 0, from_input.stderr
    assert from_input.stdout == from_points.stdout
    lines = [json.loads(line) for line in from_points.stdout.splitlines()]
    assert [set(line) for line in lines] == [{"cluster_index", "distance"}] * 2
    assert lines[0]["cluster_index"] != lines[1]["cluster_index"]
    # Each is a true center, near which its centroid was found.
    assert all(0 <= line["distance"] < 0.5 for line in lines)


def test_a_served_model_is_asked_by_the_command_and_ends_by_sigterm_with_0(
    trained: Trained, assigned: str
) -> None:
    ports = ("--port", "auto", "--rest-api-port", "auto")
    with serve_process(trained.base, *ports, "--json") as served:
        server = served.grpc_address
        asked = run("assign", trained.csv, "--model", trained.base, "--server", server)
        assert asked.returncode == 0, asked.stderr
        assert asked.stdout == assigned
        unknown = run(
            "assign", "--point", "1,2", "--model", trained.base, "--server", "127.0.0.1:1"
        )
        assert (unknown.returncode, unknown.stdout) == (2, "")
        assert "127.0.0.1:1" in unknown.stderr
        assert served.end() == 0
        events = [json.loads(line)["event"] for line in served.lines]
        assert events == ["loaded", "unloaded"]


@pytest.mark.slow
def test_a_port_in_use_is_one_line_and_ctrl_c_ends_with_130(trained: Trained) -> None:
    with serve_process("--model", trained.base, "--port", "auto", "--json") as served:
        assert served.rest_address is None
        assert served.grpc_address is not None
        taken = served.grpc_address.rpartition(":")[2]
        second = run("serve", trained.base, "--port", taken)
        assert (second.returncode, second.stdout) == (2, "")
        (line,) = second.stderr.splitlines()
        assert line.startswith("error: ")
        assert taken in line
        served.process.send_signal(signal.SIGINT)
        served.process.wait(60)
        assert served.end() == 130
        assert served.lines[-1] == "interrupted"
