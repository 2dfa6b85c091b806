"""The completed measures of an interrupted selection of k, so that it can resume.

It lies in the user's cache, under a name made of the rows and the settings, and goes when the
selection ends.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from export.json_text import parse_json

from .terminal import note

if TYPE_CHECKING:
    from kmeans_module import MeasuredK

#: The version since which a k is measured as it is; measures of before it are taken anew.
_MEASURES: Final = "0.1.0"


@dataclass(frozen=True)
class SelectionCheckpoint:
    """The file with the measured k of one selection."""

    path: Path

    @classmethod
    def of(cls, fingerprint: str, settings: Mapping[str, Any]) -> Self:
        """The checkpoint for rows with this fingerprint, and for these settings and measures."""
        settled = json.dumps([fingerprint, sorted(settings.items()), _MEASURES])
        key = hashlib.sha256(settled.encode()).hexdigest()[:32]
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cls(cache / "tfkmeans" / "select-k" / f"{key}.json")

    def read(self) -> tuple["MeasuredK", ...]:
        """The measured k, ascending; none if there is no readable file."""
        try:
            rows = parse_json(self.path.read_text(encoding="utf-8"))
            return tuple(_from_json(row) for row in rows)
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, KeyError, TypeError) as error:
            note(f"warning: {self.path}: unreadable ({error}); starting again")
            return ()

    def add(self, kept: list["MeasuredK"], measured: "MeasuredK") -> None:
        """Append ``measured`` to ``kept``, and write the file."""
        from export.durable_files import write_atomically

        kept.append(measured)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, json.dumps(_as_json(kept)))
        except OSError as error:
            note(
                f"warning: {self.path}: cannot be written ({error.strerror}); --resume will not "
                "work"
            )

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def _as_json(kept: Sequence["MeasuredK"]) -> list[dict[str, Any]]:
    """Convert to JSON; float32 values keep every bit."""
    return [asdict(each) | {"centroids": each.centroids.tolist()} for each in kept]


def _from_json(row: Mapping[str, Any]) -> "MeasuredK":
    import numpy as np

    from kmeans_module import MeasuredK

    # What a version before did not measure is missing.
    values = {each.name: row[each.name] for each in fields(MeasuredK) if each.name in row}
    return MeasuredK(**values | {"centroids": np.array(values["centroids"], np.float32)})
