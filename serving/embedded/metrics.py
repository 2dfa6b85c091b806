"""The metrics: TF Serving's, by its names, types and labels.

They are a collector of prometheus_client's, so that a program that embeds the server can register
them beside its own. The page is written here: that library's would add ``_total`` to the counters,
and comments, which TF Serving has not.
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
# What lies above the last limit is counted by the bucket of +Inf.
_MICROSECONDS = tuple(10 * 1.8**power for power in range(33))
_EXAMPLES = tuple(float(2**power) for power in range(15))


class _Family:
    """A metric: its cells by the values of its labels."""

    kind: str

    def __init__(self, name: str, *labels: str) -> None:
        self._name = _PREFIX + name
        self._labels = labels
        self._cells: dict[tuple[str, ...], Any] = {}
        self._lock = threading.Lock()

    def to_metric(self) -> Metric:
        """The metric as it is now."""
        metric = Metric(self._name, "", self.kind)
        with self._lock:
            for values, cell in sorted(self._cells.items()):
                self._add_samples(metric, dict(zip(self._labels, values, strict=True)), cell)
        return metric

    def _add_samples(self, metric: Metric, labels: dict[str, str], cell: Any) -> None:
        raise NotImplementedError


class _Counter(_Family):
    kind = "counter"

    def add(self, *values: str, by: int = 1) -> None:
        with self._lock:
            self._cells[values] = self._cells.get(values, 0) + by

    def _add_samples(self, metric: Metric, labels: dict[str, str], cell: Any) -> None:
        metric.add_sample(self._name, labels, cell)


class _Histogram(_Family):
    kind = "histogram"

    def __init__(self, name: str, *labels: str, limits: tuple[float, ...]) -> None:
        super().__init__(name, *labels)
        self._limits = limits

    def observe(self, *values: str, value: float) -> None:
        with self._lock:
            cell = self._cells.setdefault(values, [[0] * (len(self._limits) + 1), 0.0])
            cell[0][bisect_right(self._limits, value)] += 1
            cell[1] += value

    def _add_samples(self, metric: Metric, labels: dict[str, str], cell: Any) -> None:
        counts, total = cell
        limits = [*map(_number, self._limits), "+Inf"]
        for limit, count in zip(limits, accumulate(counts), strict=True):
            metric.add_sample(f"{self._name}_bucket", {**labels, "le": limit}, count)
        metric.add_sample(f"{self._name}_sum", labels, total)
        metric.add_sample(f"{self._name}_count", labels, sum(counts))


class ServingMetrics(Collector):
    """What a server counts and measures; every method is safe to call from several threads."""

    def __init__(self) -> None:
        self._requests = _Counter("request_count", "model_name", "status")
        self._latency = _Histogram(
            "request_latency", "model_name", "API", "entrypoint", limits=_MICROSECONDS
        )
        self._runtime = _Histogram(
            "runtime_latency", "model_name", "API", "runtime", limits=_MICROSECONDS
        )
        self._warmup = _Histogram(
            "model_warmup_latency", "model_path", "status", limits=_MICROSECONDS
        )
        self._examples = _Histogram("request_example_counts", "model", limits=_EXAMPLES)
        self._examples_total = _Counter("request_example_count_total", "model")

    def collect(self) -> Iterator[Metric]:
        """The metrics in the order of their names; one without any sample is there too."""
        families = (self._warmup, self._examples_total, self._examples)
        for family in (*families, self._requests, self._latency, self._runtime):
            yield family.to_metric()

    def request(self, model: str, api: str, entrypoint: str, code: Code, seconds: float) -> None:
        """Count a request, and measure it if it succeeded."""
        self._requests.add(model, code.name)
        if code is Code.OK:
            self._latency.observe(model, api, entrypoint, value=_micros(seconds))

    def run(self, model: str, api: str, seconds: float) -> None:
        """Measure a successful run of a graph."""
        # TF Serving names its session-based runtime so, whatever TensorFlow wrote the model.
        self._runtime.observe(model, api, "TF1", value=_micros(seconds))

    def examples(self, model: str, number: int) -> None:
        """Count the tf.Examples of a request."""
        self._examples.observe(model, value=number)
        self._examples_total.add(model, by=number)

    def warmup(self, path: str, status: str, seconds: float) -> None:
        """Measure the warm-up of a version."""
        self._warmup.observe(path, status, value=_micros(seconds))


def metrics_text(collector: Collector) -> str:
    """The page of metrics as TF Serving lays it out."""
    lines = []
    for metric in collector.collect():
        lines.append(f"# TYPE {metric.name} {metric.type}")
        for sample in metric.samples:
            labels = ",".join(f'{name}="{_escape_label(v)}"' for name, v in sample.labels.items())
            lines.append(f"{sample.name}{{{labels}}} {_number(sample.value)}")
    return "\n".join(lines) + "\n"


def _escape_label(value: str) -> str:
    # A model's name comes from whoever asks: a new line in it must not break the page.
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _micros(seconds: float) -> int:
    return max(0, round(seconds * 1e6))


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
