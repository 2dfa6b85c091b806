"""The summary of a finished job: ``summary.json``."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from .job import Job
from .output_folder import OutputFolder
from .tally import Tally

#: What a summary says of the run and the place, and not of the rows.
_RUN_FIELDS: Final = {"output", "began", "ended", "seconds", "part_seconds"}


def summarize(job: Job, folder: OutputFolder, parts: int, seconds: float) -> dict[str, Any]:
    """Add up the parts of a job that is done, and write ``summary.json``.

    When the last run had no ``parts`` to score, what is there stays, unless it is damaged. Its
    ``seconds`` are those of the last run, ``part_seconds`` those of all parts together, whichever
    run did them and however many at once. Raises OutputNotWritten.
    """
    records = folder.records()
    total = Tally.empty(job.n_clusters)
    for record in records:
        total.add(record.tally)
    summary = {
        "model": asdict(job.model),
        "output": str(job.output),
        "format": str(job.format),
        "files": len(job.inputs),
        "parts": len(records),
        "rows": total.rows,
        "scored": total.rows - total.rejected,
        "rejected": total.rejected,
        "cluster_counts": total.cluster_counts.tolist(),
        "distance_quantiles": total.quantiles(),
        # Of a model that takes columns by name.
        **({"columns": total.gaps} if total.gaps else {}),
        "began": folder.began,
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "part_seconds": round(sum(record.seconds for record in records), 3),
    }
    found = None if parts else folder.summary()
    if found is not None and found == summary | {name: found.get(name) for name in _RUN_FIELDS}:
        return found
    folder.write_summary(summary)
    return summary
