"""Importing the package and fitting say nothing of TensorFlow's start; other lines come through."""

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

import kmeans_module
from kmeans_module import KMeans

FITTING = """
import sys
import numpy as np
from tfkmeans import KMeans, load, publish_fit
points = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
model = KMeans(3).fit(points)
publish_fit(model, points, sys.argv[1], feature_names=["a", "b"])
print(load(sys.argv[1]).assign(points[:1]).cluster_index.shape)
"""

SAYING = """
import os, sys
import kmeans_module
from kmeans_module.quiet_import import quiet_start
with quiet_start():
    os.write(2, b"somebody says this\\n")
    os.write(2, b"I0000 00:00:1.2 3 port.cc:153] oneDNN custom operations are on.\\n")
    os.write(2, b"E0000 00:00:1.2 3 gpu.cc:1] the device has no memory left\\n")
    import tensorflow
"""


def _run(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=kept | environment,
    )


@pytest.mark.slow
def test_a_fit_a_version_and_its_answer_say_nothing_by_themselves(tmp_path: Path) -> None:
    process = _run(FITTING, str(tmp_path / "people"))
    assert process.stderr == ""
    assert process.stdout == "(1,)\n"


SEARCHING = """
import numpy as np
from sklearn.model_selection import GridSearchCV
from tfkmeans import KMeans
points = np.random.default_rng(0).normal(size=(40, 2))
GridSearchCV(KMeans(n_init=1), {"n_clusters": [2, 3]}, cv=2, n_jobs=2).fit(points)
"""


@pytest.mark.slow
def test_a_search_in_several_processes_says_nothing_of_the_start() -> None:
    assert _run(SEARCHING).stderr == ""


def test_a_model_is_unpickled_without_news_of_the_start(tmp_path: Path) -> None:
    file = tmp_path / "model.pkl"
    file.write_bytes(pickle.dumps(KMeans(1).fit([[0.0], [2.0]])))
    code = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).predict([[1.0]]))"
    process = _run(code, str(file))
    assert (process.stdout, process.stderr) == ("[0]\n", "")


def test_each_module_takes_tensorflow_where_it_is_imported_without_news() -> None:
    root = Path(kmeans_module.__file__).parent.parent
    files = [*root.glob("kmeans_module/**/*.py"), *root.glob("export/**/*.py")]
    assert len(files) > 80
    loud = re.compile(r"^ *import tensorflow\b", re.M)
    importing = {file.name for file in files if loud.search(file.read_text())}
    assert importing == {"quiet_tensorflow.py"}


def test_what_is_no_news_of_the_start_comes_through() -> None:
    assert _run(SAYING).stderr.splitlines() == [
        "somebody says this",
        "E0000 00:00:1.2 3 gpu.cc:1] the device has no memory left",
    ]


def test_who_asks_for_the_messages_of_tensorflow_gets_them() -> None:
    said = _run("from kmeans_module import fit", TF_CPP_MIN_LOG_LEVEL="0").stderr
    assert "oneDNN custom operations are on" in said


def test_ctrl_c_during_the_import_shows_no_messages_of_it() -> None:
    code = (
        "import os\n"
        "from kmeans_module.quiet_import import quiet_start\n"
        "try:\n"
        "    with quiet_start():\n"
        "        os.write(2, b'I0000 00:00:1.2 3 a.cc:1] oneDNN is on\\n')\n"
        "        os.write(2, b'a line of another origin\\n')\n"
        "        raise KeyboardInterrupt\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    process = _run(code)
    assert process.stderr == "a line of another origin\n"
    assert process.stdout == "interrupted\n"


def test_what_was_written_is_shown_where_the_import_fails() -> None:
    code = (
        "import os, sys\n"
        "from kmeans_module.quiet_import import quiet_start\n"
        "try:\n"
        "    with quiet_start():\n"
        "        os.write(2, b'I0000 00:00:1.2 3 a.cc:1] before the fault\\n')\n"
        "        raise ImportError('no module')\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    process = _run(code)
    assert process.stderr == "I0000 00:00:1.2 3 a.cc:1] before the fault\n"
    assert process.stdout == "no module\n"


CLOSED_OR_FULL = """
import os, sys
from kmeans_module.quiet_import import quiet_start
with quiet_start():
    import tensorflow
print("imported")
"""


@pytest.mark.parametrize(
    ("command", "places"),
    [('exec "$0" -c "$1" 2>&-', None), ('exec "$0" -c "$1"', "/dev/null/none")],
    ids=["closed", "nowhere to keep it"],
)
def test_the_import_goes_on_where_stderr_cannot_be_held_back(
    command: str, places: str | None, tmp_path: Path
) -> None:
    code = "import tempfile\n" + (f"tempfile.tempdir = {places!r}\n" if places else "")
    process = subprocess.run(
        ["sh", "-c", command, sys.executable, code + CLOSED_OR_FULL],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stdout == "imported\n", process.stderr


def test_a_program_that_leaves_out_keras_can_still_have_it() -> None:
    code = (
        "import sys\n"
        "from kmeans_module.quiet_import import program_start\n"
        "with program_start():\n"
        "    from kmeans_module.quiet_tensorflow import tf\n"
        "print('keras' in sys.modules)\n"
        "print(tf.keras.optimizers.SGD.__name__)\n"
    )
    assert _run(code).stdout.splitlines() == ["False", "SGD"]


def test_a_program_has_its_garbage_collector_and_the_omitted_libraries_after_the_import() -> None:
    code = (
        "import gc\n"
        "from kmeans_module.quiet_import import program_start\n"
        "with program_start():\n"
        "    import kmeans_module.quiet_tensorflow\n"
        "    print(gc.isenabled())\n"
        "print(gc.isenabled())\n"
        "import h5py, scipy.sparse\n"
        "print(h5py.__name__, scipy.sparse.eye(2).nnz)\n"
    )
    assert _run(code).stdout.splitlines() == ["False", "True", "h5py 2"]


@pytest.mark.parametrize("context", ["program_start", "quiet_start"])
def test_a_failed_import_leaves_the_garbage_collector_on_and_nothing_out(context: str) -> None:
    code = (
        "import gc, sys\n"
        f"from kmeans_module.quiet_import import {context}\n"
        "try:\n"
        f"    with {context}():\n"
        "        raise ImportError('no module')\n"
        "except ImportError as error:\n"
        "    print(error, gc.isenabled(), gc.get_freeze_count(), 'scipy' in sys.modules)\n"
        "import h5py, scipy\n"
    )
    assert _run(code).stdout == "no module True 0 False\n"


def test_who_has_turned_the_garbage_collector_off_keeps_it_off() -> None:
    code = (
        "import gc\n"
        "from kmeans_module.quiet_import import program_start\n"
        "gc.disable()\n"
        "with program_start():\n"
        "    pass\n"
        "print(gc.isenabled())\n"
    )
    assert _run(code).stdout == "False\n"
