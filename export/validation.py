"""Validate a version before it is published: load it in a fresh process and replay its requests.

``python -m export.validation DIR [LIVE [ROWS]]`` prints one line of JSON, ``{"findings": [...]}``.
The exit code is 0 without findings, else 3. With LIVE, the directory of the live version, the line
also has the differences of DIR from LIVE, measured on the rows of ROWS, an .npy file, or on the
rows in DIR. In a separate process no object in memory can replace a missing file, and a crash of
the loader becomes a finding.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from kmeans_module.quiet_import import program_start

from .comparison import Comparison, NotCompared
from .errors import PublishRefused, ValidationTimedOut

EXIT_REFUSED: Final = 3

_MOST_FINDINGS_SHOWN: Final = 3


def validate(
    directory: str | Path,
    *,
    name: str | None = None,
    timeout: float = 600.0,
    live: str | Path | None = None,
    holdout: str | Path | None = None,
) -> Comparison | NotCompared | str | None:
    """Check that the version in ``directory`` loads, and gives the answers of its export.

    Every signature has the contract's names, dtypes and shapes; the golden requests are answered
    bit for bit; the warm-up records succeed.

    Args:
      directory: a version directory.
      name: the name of the version in error messages; by default the directory.
      timeout: the most seconds.
      live: the directory of the live version, for the comparison.
      holdout: an .npy file of rows [n, d], raw units, for the comparison; for a version that takes
        columns by name, an .npz file with an array ``column/NAME`` for each column; by default the
        rows in the version.

    Returns:
      The differences from ``live``; `NotCompared` if both versions were published without rows; the
      reason as text if the versions cannot be compared for another cause; None without ``live``.

    Raises:
      PublishRefused: the check failed; the message has the figures.
      ValidationTimedOut: the validation did not end in time.

    Example:
        >>> from tfkmeans import validate
        >>> validate("models/customers/1")  # None: the version is valid
    """
    name = name or str(directory)
    # -P: do not import a folder named export or tensorflow in the working directory.
    compared = [str(Path(path).absolute()) for path in (live, holdout) if live and path]
    place = str(Path(directory).absolute())
    command = [sys.executable, "-P", "-m", "export.validation", place, *compared]
    try:
        process = subprocess.run(
            command,
            env={"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ValidationTimedOut(
            f"{name}: refused: validation did not end within {timeout:g} s; raise the limit, or "
            f"find the cause with: python -m export.validation {directory}"
        ) from None
    # What is validated may lie in a folder that goes again: the caller knows it by its name.
    said = _read_result(process)
    refuse_for([line.replace(place, name) for line in said["findings"]], name)
    if said.get("comparison") is not None:
        return Comparison(**said["comparison"])
    if said.get("not_compared") is not None:
        return NotCompared(str(said["not_compared"]))
    incomparable = said.get("incomparable")
    return None if incomparable is None else str(incomparable).replace(place, name)


def refuse_for(findings: list[str], name: str, *, mend: str = "") -> None:
    """Raise PublishRefused with the first findings, if there are any."""
    if findings:
        more = len(findings) - _MOST_FINDINGS_SHOWN
        rest = f"; and {more} more" if more > 0 else ""
        shown = "; ".join(findings[:_MOST_FINDINGS_SHOWN])
        raise PublishRefused(f"{name}: refused: {shown}{rest}{mend}")


def _read_result(process: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the findings of the process, or the reason why it gave none."""
    if process.returncode in (0, EXIT_REFUSED):
        lines = process.stdout.splitlines()
        try:
            said: dict[str, Any] = json.loads(lines[-1])
            said["findings"] = [str(line) for line in said["findings"]]
        except (IndexError, KeyError, TypeError, ValueError):
            return {"findings": ["validation gave no result"]}
        return said
    last = [line for line in process.stderr.splitlines() if line.strip()][-1:]
    broke = f"validation failed with exit code {process.returncode}: {''.join(last)[:300]}"
    return {"findings": [broke]}


def _main(arguments: list[str]) -> int:
    if not 1 <= len(arguments) <= 3:
        print("usage: python -m export.validation DIR [LIVE [ROWS]]", file=sys.stderr)  # noqa: T201
        return 2
    # Only here is TensorFlow needed.
    with program_start():
        from .replay import collect_findings, measure

    directory, *others = map(Path, arguments)
    said: dict[str, Any] = {"findings": collect_findings(directory)}
    if others and not said["findings"]:
        said |= measure(directory, *others)
    print(json.dumps(said))  # noqa: T201
    return EXIT_REFUSED if said["findings"] else 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
