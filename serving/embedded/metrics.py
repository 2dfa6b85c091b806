"""The metrics of TF Serving, with its names, types and labels.

They are a collector of prometheus_client, so a program with an embedded server can register them
with its own metrics. This module writes the page itself: the library would add ``_total`` to
counters, and comments, unlike TF Serving.
"""

import threading
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from serving.embedded.status import Code

_PREFIX = ":tensorflow:serving:"
# Values above the last limit are counted in the +Inf bucket.
_MICROSECONDS = tuple(10 * 1.8**power for power in range(33))
_EXAMPLES = tuple(float(2**power) for power in range(15))


#: The metrics in the order of their names: labels, and limits of histograms.
_METRICS: dict[str, tuple[tuple[str, ...], tuple[float, ...]]] = {
    "model_warmup_latency": (("model_path", "status"), _MICROSECONDS),
    "model_warmup_records_read": (("model_path", "status"), ()),
    "request_count": (("model_name", "status"), ()),
    "request_example_count_total": (("model",), ()),
    "request_example_counts": (("model",), _EXAMPLES),
    "request_latency": (("model_name", "API", "entrypoint"), _MICROSECONDS),
    # Without samples, as in TF Serving without a request log.
    "request_log_count": ((), ()),
    "runtime_latency": (("model_name", "API", "runtime"), _MICROSECONDS),
}


class ServingMetrics(Collector):
    """The counters and histograms of a server; every method is thread-safe."""

    def __init__(self) -> None:
        # By label values: a count, or the bucket counts and the sum of a histogram.
        self._cells: dict[str, dict[tuple[str, ...], Any]] = {name: {} for name in _METRICS}
        self._lock = threading.Lock()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics in the order of their names, including those without samples."""
        return map(self._metric, _METRICS)

    def request(self, model: str, api: str, entrypoint: str, code: Code, seconds: float) -> None:
        """Count a request, and measure its time if it succeeded."""
        self._count("request_count", model, code.name)
        if code is Code.OK:
            self._observe("request_latency", model, api, entrypoint, value=_micros(seconds))

    def run(self, model: str, api: str, seconds: float) -> None:
        """Measure the time of a successful run of a graph."""
        # The name of TF Serving's session-based runtime, for models of any TensorFlow version.
        self._observe("runtime_latency", model, api, "TF1", value=_micros(seconds))

    def examples(self, model: str, number: int) -> None:
        """Count the tf.Examples of a request."""
        self._observe("request_example_counts", model, value=number)
        self._count("request_example_count_total", model, by=number)

    def warmup(self, path: str, status: str, seconds: float, records: int) -> None:
        """Measure the time of the warm-up of a version, and count its records."""
        self._observe("model_warmup_latency", path, status, value=_micros(seconds))
        self._count("model_warmup_records_read", path, status, by=records)

    def _count(self, name: str, *values: str, by: int = 1) -> None:
        with self._lock:
            cells = self._cells[name]
            cells[values] = cells.get(values, 0) + by

    def _observe(self, name: str, *values: str, value: float) -> None:
        limits = _METRICS[name][1]
        with self._lock:
            cell = self._cells[name].setdefault(values, [[0] * (len(limits) + 1), 0.0])
            cell[0][bisect_right(limits, value)] += 1
            cell[1] += value

    def _metric(self, name: str) -> Metric:
        label_names, limits = _METRICS[name]
        metric = Metric(_PREFIX + name, "", "histogram" if limits else "counter")
        with self._lock:
            for values, cell in sorted(self._cells[name].items()):
                labels = dict(zip(label_names, values, strict=True))
                if not limits:
                    metric.add_sample(metric.name, labels, cell)
                    continue
                counts, total = cell
                texts = [*map(_number, limits), "+Inf"]
                for limit, count in zip(texts, accumulate(counts), strict=True):
                    metric.add_sample(f"{metric.name}_bucket", {**labels, "le": limit}, count)
                metric.add_sample(f"{metric.name}_sum", labels, total)
                metric.add_sample(f"{metric.name}_count", labels, sum(counts))
        return metric


def metrics_text(collector: Collector) -> str:
    """Return the page of metrics in the layout of TF Serving."""
    lines = []
    for metric in collector.collect():
        lines.append(f"# TYPE {metric.name} {metric.type}")
        for sample in metric.samples:
            labels = ",".join(f'{name}="{_escape_label(v)}"' for name, v in sample.labels.items())
            lines.append(f"{sample.name}{{{labels}}} {_number(sample.value)}")
    return "\n".join(lines) + "\n"


def _escape_label(value: str) -> str:
    # Callers choose model names: a new line in a name must not break the page.
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _micros(seconds: float) -> int:
    return max(0, round(seconds * 1e6))


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
