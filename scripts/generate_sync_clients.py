"""Generate the sync clients from the async ones.

::

    python scripts/generate_sync_clients.py            write the generated files
    python scripts/generate_sync_clients.py --check    write nothing; exit code 1 if a file is stale

``serving/clients/async_NAME.py`` is written by hand, ``NAME.py`` beside it is generated: the same
text without ``async`` and ``await``, and with other words where the behaviour differs.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = _ROOT / "serving" / "clients"
SOURCES: Final = ("async_client.py", "async_grpc_client.py", "async_rest_client.py")

#: Patterns and their replacements, applied in this order.
_REPLACEMENTS: Final = (
    (
        r"Event loops may share a client, each on connections of its own; a process that is forked "
        r"later\s+must not use it\.",
        "Threads may share a client; a process that is forked later must not use it.",
    ),
    (
        r"Event loops may share a client, each on connections of its own\.",
        "Threads may share a client; a forked process goes on with it, on connections of its own.",
    ),
    (r"\bAn async client\b", "A sync client"),
    (r"\ban async client\b", "a sync client"),
    (r"\n *>>> import asyncio(?=\n)", ""),
    (r"\basyncio\.run\((.+)\)", r"\1"),
    (r"\basyncio\b", "time"),
    (r"\basync (def|with)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\b__a(enter|exit)__\b", r"__\1__"),
    (r"\bAsync(?=[A-Z])", ""),
    (r"\basync_(?=\w*client\b)", ""),
)


def generate(source: Path) -> str:
    """Generate the text of a sync client from the file of the async one."""
    text = source.read_text()
    for pattern, replacement in _REPLACEMENTS:
        text = re.sub(pattern, replacement, text)
    header = f"# Generated from {source.name} by scripts/generate_sync_clients.py; do not edit.\n"
    for arguments in (["check", "--fix", "--select", "I"], ["format"]):
        command = [
            sys.executable,
            "-m",
            "ruff",
            *arguments,
            "--quiet",
            "--config",
            "pyproject.toml",
        ]
        text = subprocess.run(
            [*command, "-"], input=text, stdout=subprocess.PIPE, text=True, cwd=_ROOT, check=True
        ).stdout
    return header + text


def target_of(source: Path) -> Path:
    """The generated file of a source."""
    return source.with_name(source.name.removeprefix("async_"))


def main(arguments: Sequence[str], folder: Path = FOLDER) -> int:
    """Write or check the generated files of a folder; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say which files are stale")
    check = parser.parse_args(arguments).check
    stale = 0
    for source in (folder / name for name in SOURCES):
        target, text = target_of(source), generate(source)
        if target.is_file() and target.read_text() == text:
            continue
        stale += 1
        if check:
            print(f"{target} is not what {source.name} gives; run: make format", file=sys.stderr)
        else:
            target.write_text(text)
            print(f"wrote {target}")
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
