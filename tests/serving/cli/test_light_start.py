"""What the command does without its heavy parts: help, versions, and a hint at what is missing."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from .command import COMMAND, environment, run
from .conftest import Trained

pytestmark = pytest.mark.slow

NAMES = ["train", "serve", "assign", "batch-score", "probe", "monitor", "metadata", "inspect"]


def python(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


#: Runs the command with its arguments, then prints which heavy packages were imported.
WATCHED = """
import sys
from serving.cli import main
code = main(sys.argv[1:])
heavy = {"tensorflow", "pyarrow", "tensorflow_serving", "starlette", "uvicorn"}
print("IMPORTED", sorted(heavy & set(sys.modules)))
sys.exit(code)
"""

#: Runs the command where some packages are not installed.
WITHOUT = """
import sys
for name in sys.argv.pop(1).split(","):
    sys.modules[name] = None
from serving.cli import main
sys.exit(main(sys.argv[1:]))
"""


#: Runs the command, then prints the allocator that Arrow uses afterwards.
ALLOCATING = """
import sys
from serving.cli import main
main(sys.argv[1:])
import pyarrow
print("ALLOCATOR", pyarrow.default_memory_pool().backend_name)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["train", "--help"]])
def test_help_and_version_import_nothing_heavy(arguments: list[str]) -> None:
    process = python(WATCHED, *arguments)
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[-1] == "IMPORTED []"


def test_inspect_imports_nothing_heavy(trained: Trained) -> None:
    process = python(WATCHED, "inspect", trained.base)
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[-1] == "IMPORTED []"


@pytest.mark.parametrize("command", NAMES)
def test_every_command_has_help_with_examples_and_json(command: str) -> None:
    process = run(command, "--help")
    assert (process.returncode, process.stderr) == (0, "")
    assert "Examples" in process.stdout
    assert f"tfkmeans {command} " in process.stdout
    assert "--json" in process.stdout
    assert "--model" in process.stdout


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        ("pyarrow", "train {csv} --model new --clusters 2", "train"),
        ("tensorflow", "train {csv} --model new --clusters 2", "train"),
        ("pyarrow", "batch-score {csv} out --model {base}", "batch"),
        ("tensorflow", "assign --point 1,2 --model {base}", "train"),
        ("tensorflow", "serve {base} --port auto", "serve"),
        ("uvicorn", "serve {base} --port auto --rest-api-port auto", "serve"),
    ],
)
def test_a_command_whose_extra_is_not_installed_says_what_to_install(
    trained: Trained, tmp_path: Path, missing: str, arguments: str, extra: str
) -> None:
    given = arguments.format(csv=trained.csv, base=trained.base).replace("new", f"{tmp_path}/new")
    process = python(WITHOUT, missing, *given.split())
    assert process.returncode == 2
    assert process.stdout == ""
    assert process.stderr.splitlines()[-1] == (
        f"error: this command needs {missing}, which is not installed: "
        f"pip install 'tfkmeans[{extra}]'"
    )


def test_a_point_is_asked_of_a_server_without_tensorflow_and_pyarrow(trained: Trained) -> None:
    process = python(
        WITHOUT,
        "tensorflow,pyarrow",
        *("assign", "--point", "1,2", "--model", trained.base, "--server", "127.0.0.1:1"),
    )
    # Nothing listens there; that it got so far needs neither.
    assert process.returncode == 2
    assert "127.0.0.1:1" in process.stderr
    assert "not installed" not in process.stderr


def test_a_reader_that_leaves_early_is_told_nothing(trained: Trained) -> None:
    process = subprocess.Popen(
        [*COMMAND, "inspect", str(trained.base)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (1, b"")


@pytest.mark.parametrize("command", ["inspect", "versions"])
def test_a_closed_standard_output_is_a_line(trained: Trained, command: str) -> None:
    process = subprocess.run(
        ["bash", "-c", 'exec "$@" >&-', "bash", *COMMAND, command, str(trained.base)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stderr) == (
        0,
        "warning: standard output is closed: nothing is printed there\n",
    )


def test_the_help_of_serve_has_every_name_whole_on_a_narrow_terminal() -> None:
    environ = environment() | {"COLUMNS": "80"}
    said = subprocess.check_output([*COMMAND, "serve", "--help"], env=environ, text=True)
    shown = said.replace("gs://…", "")
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) == 80


def test_arrow_of_a_command_keeps_freed_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARROW_DEFAULT_MEMORY_POOL", raising=False)
    if "jemalloc" not in pa.supported_memory_backends():
        pytest.skip("this build of Arrow has no jemalloc")
    assert python(ALLOCATING, "--version").stdout.splitlines()[-1] == "ALLOCATOR jemalloc"


def test_the_allocator_that_the_user_selected_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", "system")
    assert python(ALLOCATING, "--version").stdout.splitlines()[-1] == "ALLOCATOR system"
