"""``make demo``: the main job, as a newcomer runs it."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import numpy as np
import psutil
import pytest
from sklearn.cluster import KMeans
from sklearn.preprocessing import StandardScaler

from export import ModelCard

from .conftest import DEMO, ROOT

pytestmark = pytest.mark.slow


def test_the_demo_prints_its_table_and_writes_what_the_table_names(
    told: tuple[Path, str],
) -> None:
    folder, said = told
    table = dict(re.findall(r"^  (\S.*?)  +(.*)$", said, re.MULTILINE))
    assert table["rows"] == "342 used, 2 left out"
    assert table["k"] == "3"
    assert table["equal answers"] == "in process, gRPC, REST, batch: 344 rows each"
    assert table["model"] == f"{folder}/penguins/1/"
    for name in ("model", "card", "clusters", "report"):
        assert Path(table[name]).exists()


def test_the_demos_clusters_are_those_of_scikit_learn(told: tuple[Path, str]) -> None:
    folder, _ = told
    rows = np.genfromtxt(ROOT / "examples/penguins.csv", delimiter=",", skip_header=1)[:, 2:6]
    rows = rows[~np.isnan(rows).any(axis=1)]
    best = KMeans(3, n_init=10, random_state=0).fit(StandardScaler().fit_transform(rows))
    card = ModelCard.read(folder / "penguins" / "1")
    assert card.inertia == pytest.approx(best.inertia_, rel=1e-5)
    assert sorted(c.size for c in card.clusters) == sorted(np.bincount(best.labels_).tolist())


def test_the_card_is_json_that_any_reader_takes(told: tuple[Path, str]) -> None:
    folder, _ = told
    text = (folder / "penguins/1/assets.extra/model_card.json").read_text()
    card = json.loads(text, parse_constant=pytest.fail)
    assert card["n_clusters"] == 3
    assert card["data"]["rows_left_out"] == 2


@pytest.mark.parametrize(
    "until", ["$ tfkmeans train", "$ tfkmeans batch-score", "serving penguins"]
)
def test_an_interrupted_demo_ends_with_130_and_leaves_no_process(
    tmp_path: Path, until: str
) -> None:
    with subprocess.Popen(
        [*DEMO, tmp_path],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if line.startswith(until):
                break
        psutil.Process(demo.pid).send_signal(signal.SIGINT)
        _, complaint = demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert "Traceback" not in complaint
    assert not [p for p in psutil.process_iter() if _session(p) == demo.pid]
    assert not list(tmp_path.glob("penguins/.incoming-*"))


def _session(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except OSError:
        return None
