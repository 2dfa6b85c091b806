"""The tables and the picture of `benchmarks.fit`.

    python benchmarks/fit_report.py RESULTS.json PICTURE.png

draws the picture; matplotlib comes with the peers' environment.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

#: The peers by the names of their packages.
_PEERS: Final = {
    "lloyd": "scikit-learn",
    "elkan": "scikit-learn, elkan",
    "intelex": "scikit-learn-intelex",
    "faiss": "faiss",
}


def report(results: dict[str, Any], picture: str | None) -> str:
    """Return the tables as Markdown, below the picture of that name."""
    machine = results["machine"]
    parts = [
        "# Fits beside their peers",
        f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads. "
        "Written by `make bench`; what the columns say is in `benchmarks/fit.py`.",
    ]
    if picture is not None:
        parts.append(
            f"![Time of the best peer divided by time of tfkmeans, for each row]({picture})"
        )
    titles = {"ten": "Ten iterations", "whole": "To convergence (tol 1e-4, at most 300 iterations)"}
    for table, title in titles.items():
        if table in results:
            parts += [f"## {title}", _fits(results[table])]
    if "memory" in results:
        parts += [
            "## Memory: a fit of W2, above what the process holds with the data loaded",
            _table(
                ("contender", "MiB, the first such fit", "MiB, the second"),
                (
                    (row["contender"], f"{row['mib']:.0f}", f"{row['second_mib']:.0f}")
                    for row in results["memory"]
                ),
            ),
        ]
    if "growth" in results:
        parts += [
            "## Growth in n (d = 16, k = 64)",
            _table(
                ("rows", "ns per row and iteration"),
                ((f"{row['n']:,}", f"{row['nanoseconds']:.1f}") for row in results["growth"]),
            ),
        ]
    if "seeding" in results:
        parts += ["## Seeding", _seeding(results["seeding"])]
    if "served" in results:
        parts += ["## Served: milliseconds of a call", _served(results["served"])]
    return "\n\n".join(parts) + "\n"


def _fits(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        for name, each in row["contenders"].items():
            ours = name == "tfkmeans"
            lines.append(
                (
                    row["row"] if ours else "",
                    name,
                    f"{each['seconds']:.2f} ({each['least']:.2f} to {each['most']:.2f})",
                    f"**{row['ratio']:.2f}** to {row['best_peer']}"
                    if ours and "ratio" in row
                    else "",
                    _shown(row.get("iteration_ratio")) if ours else "",
                    str(each["iterations"]),
                    f"{each['inertia_difference']:+.1e}",
                    f"{each['mib']:.0f}",
                    str(row["rounds"]) if ours else "",
                    _shown(each.get("first_fit_seconds")),
                    _shown(row.get("first_ratio")) if ours else "",
                )
            )
    heads = (
        "row",
        "contender",
        "seconds: median (range)",
        "ratio to the best peer",
        "per iteration",
        "iterations",
        "inertia, to lloyd's",
        "MiB above the data",
        "rounds",
        "first fit of a process, s",
        "its ratio to the best peer's",
    )
    return _table(heads, lines)


def _shown(seconds: float | None) -> str:
    """Format a number; "" if it was not measured."""
    return "" if seconds is None else f"{seconds:.2f}"


def _seeding(rows: list[dict[str, Any]]) -> str:
    heads = ("row", "contender", "init", "seconds", "rounds", "final inertia, a tenth of the rows")
    return _table(
        heads,
        (
            (
                row["row"],
                "scikit-learn" if row["contender"] == "lloyd" else row["contender"],
                row["init"].replace("|", "\\|"),
                f"{row['seconds']:.1f}",
                str(row["rounds"]),
                f"{row['inertia_of_a_tenth']:.5g}",
            )
            for row in rows
        ),
    )


def _served(rows: list[dict[str, Any]]) -> str:
    heads = ("d, k of", "rows", "assign", "predict", "predict / assign", "score", "score / assign")
    return _table(
        heads,
        (
            (
                row["row"],
                f"{row['rows']:,}",
                f"{row['assign']:.2f}",
                f"{row['predict']:.2f}",
                f"{row['predict'] / row['assign']:.2f}",
                f"{row['score']:.2f}",
                f"{row['score'] / row['assign']:.2f}",
            )
            for row in rows
        ),
    )


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(heads), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def draw(results: dict[str, Any], picture: Path) -> None:
    """Draw the ratio to the best peer of each row as bars."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    tables = [table for table in ("ten", "whole") if table in results]
    figure, axes = pyplot.subplots(
        1, len(tables), figsize=(6.5 * len(tables), 4.5), squeeze=False, layout="constrained"
    )
    for axis, table in zip(axes[0], tables, strict=True):
        rows = results[table][::-1]
        ratios = [row["ratio"] for row in rows]
        labels = [f"{row['row']} (best: {_PEERS[row['best_peer']]})" for row in rows]
        bars = axis.barh(labels, ratios, color="#4878a8")
        # The numbers are readable even if a line passes behind them.
        behind = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        axis.bar_label(bars, fmt="%.2f", padding=4, bbox=behind, zorder=3)
        axis.axvline(1.0, color="black", linewidth=1)
        axis.axvline(1.5, color="gray", linewidth=1, linestyle="--")
        axis.set_xlim(0, max(2.0, 1.15 * max(ratios)))
        axis.set_xlabel("time of the best peer / time of tfkmeans")
        axis.set_title("Ten iterations" if table == "ten" else "To convergence")
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
