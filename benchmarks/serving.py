"""Measure requests per second and latency of servers, over gRPC and REST, in one interleaved run.

    python benchmarks/serving.py --model customers --base models/customers
    python benchmarks/serving.py --model customers --base models/customers \
        --other "TF Serving" 127.0.0.1:8500 127.0.0.1:8501 --json results.json

The embedded server is started with ``--base`` in its own process. Another server, given by name,
gRPC and REST address, must serve the same model. Each round measures every server, protocol and
number of rows briefly and in another order, so that they share other load of the machine.
"""

import argparse
import http.client
import itertools
import json
import os
import platform
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from export.wire import serving_pb2, tensor_pb2

ROWS = (1, 32, 1024)
_PREDICT = "/tensorflow.serving.PredictionService/Predict"
_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
_EMBEDDED = "embedded"


@dataclass(frozen=True)
class Server:
    """A server to measure."""

    name: str
    grpc: str
    rest: str


@dataclass
class Cell:
    """The measurements of one server, protocol and number of rows.

    Attributes:
        seconds: the total time of all rounds.
        latencies: the time of each request, seconds.
    """

    server: str
    protocol: str
    rows: int
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        p50, p99 = np.quantile(self.latencies, [0.5, 0.99]) * 1e3
        return {
            "server": self.server,
            "protocol": self.protocol,
            "rows": self.rows,
            "requests": len(self.latencies),
            "requests_per_second": round(len(self.latencies) / self.seconds, 1),
            "p50_ms": round(float(p50), 3),
            "p99_ms": round(float(p99), 3),
        }


def main() -> None:
    """Run the benchmark, print its table, and write its JSON."""
    options = _options()
    with ExitStack() as stack:
        servers = [Server(*given) for given in options.other]
        if options.base is not None:
            servers.insert(0, stack.enter_context(_embedded(options.base, options.model)))
        width = _width(servers[0], options.model)
        cells = [
            Cell(server.name, protocol, rows)
            for server, protocol, rows in itertools.product(servers, ("gRPC", "REST"), ROWS)
        ]
        by_name = {server.name: server for server in servers}
        order = random.Random(options.seed)
        for _ in range(options.rounds):
            for cell in order.sample(cells, len(cells)):
                _measure(cell, by_name[cell.server], options, width)
    figures = [cell.figures() for cell in cells]
    _print_table(figures)
    if options.json is not None:
        report = {"options": _plain(options), "machine": _machine(), "results": figures}
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--model", required=True, help="the model's name on every server")
    parser.add_argument(
        "--base", type=Path, help="its base path; starts the embedded server with it"
    )
    parser.add_argument(
        "--other",
        nargs=3,
        action="append",
        default=[],
        metavar=("NAME", "GRPC", "REST"),
        help="another server: its name and its two addresses, host:port",
    )
    parser.add_argument(
        "--signature", default="assign", help="takes points [n, d] (default assign)"
    )
    parser.add_argument("--connections", type=int, default=4, help="concurrent clients (default 4)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the run (default 5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a measurement (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the points and the order")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    if options.base is None and not options.other:
        parser.error("nothing to measure; give --base or --other")
    names = [name for name, _, _ in options.other] + ([_EMBEDDED] if options.base else [])
    if len(set(names)) < len(names):
        parser.error(f"two servers have one name: {', '.join(names)}")
    return options


@contextmanager
def _embedded(base: Path, model: str) -> Iterator[Server]:
    command = [sys.executable, "-m", "serving", "serve", str(base), "--model-name", model]
    ports = ["--port", "auto", "--rest-api-port", "auto", "--json"]
    with subprocess.Popen([*command, *ports], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise SystemExit("the embedded server did not start; see its message")
            addresses = json.loads(line)
            yield Server(_EMBEDDED, addresses["grpc_address"], addresses["rest_address"])
        finally:
            process.terminate()


def _width(server: Server, model: str) -> int:
    """Return the number of features of the model."""
    connection = http.client.HTTPConnection(server.rest, timeout=30)
    connection.request("GET", f"/v1/models/{model}/metadata")
    answer = json.loads(connection.getresponse().read())
    connection.close()
    if "error" in answer:
        raise SystemExit(f"{server.name} at {server.rest}: {answer['error']}")
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    return int(signatures["serving_default"]["inputs"]["points"]["tensor_shape"]["dim"][1]["size"])


def _measure(cell: Cell, server: Server, options: argparse.Namespace, width: int) -> None:
    """Send requests on all connections for a moment, after a warm-up of each."""
    points = np.random.default_rng(options.seed).normal(size=(cell.rows, width))
    points = points.astype(np.float32)
    latencies: list[list[float]] = [[] for _ in range(options.connections)]
    ready = threading.Barrier(options.connections + 1)
    failures: list[Exception] = []

    def ask_on(mine: list[float]) -> None:
        try:
            with _asker(cell.protocol, server, options, points) as ask:
                for _ in range(3):
                    ask()
                ready.wait()
                end = time.perf_counter() + options.seconds
                while (began := time.perf_counter()) < end:
                    ask()
                    mine.append(time.perf_counter() - began)
        except Exception as error:  # noqa: BLE001 - reported by the main thread
            failures.append(error)
            ready.abort()

    threads = [threading.Thread(target=ask_on, args=(mine,)) for mine in latencies]
    for thread in threads:
        thread.start()
    try:
        ready.wait()
        began = time.perf_counter()
    except threading.BrokenBarrierError:
        began = time.perf_counter()
    for thread in threads:
        thread.join()
    if failures:
        raise SystemExit(f"{server.name} by {cell.protocol}: {failures[0]}")
    cell.seconds += time.perf_counter() - began
    cell.latencies.extend(itertools.chain.from_iterable(latencies))


@contextmanager
def _asker(
    protocol: str, server: Server, options: argparse.Namespace, points: Any
) -> Iterator[Callable[[], None]]:
    asker = _grpc_asker if protocol == "gRPC" else _rest_asker
    with asker(server, options, points) as ask:
        yield ask


@contextmanager
def _grpc_asker(
    server: Server, options: argparse.Namespace, points: Any
) -> Iterator[Callable[[], None]]:
    request = serving_pb2.PredictRequest()
    request.model_spec.name = options.model
    request.model_spec.signature_name = options.signature
    tensor = request.inputs["points"]
    tensor.dtype = tensor_pb2.DT_FLOAT
    for size in points.shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_content = points.tobytes()
    # A separate pool for each channel: otherwise all would share one connection.
    own = [*_UNLIMITED, ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(server.grpc, options=own) as channel:
        call = channel.unary_unary(
            _PREDICT,
            request_serializer=serving_pb2.PredictRequest.SerializeToString,
            response_deserializer=serving_pb2.PredictResponse.FromString,
        )

        def ask() -> None:
            call(request, timeout=60)

        yield ask


@contextmanager
def _rest_asker(
    server: Server, options: argparse.Namespace, points: Any
) -> Iterator[Callable[[], None]]:
    body = json.dumps({"signature_name": options.signature, "instances": points.tolist()})
    path = f"/v1/models/{options.model}:predict"
    connection = http.client.HTTPConnection(server.rest, timeout=60)

    def ask() -> None:
        connection.request("POST", path, body)
        response = connection.getresponse()
        text = response.read()
        if response.status != http.HTTPStatus.OK:
            raise RuntimeError(text.decode())
        json.loads(text)

    try:
        yield ask
    finally:
        connection.close()


def _print_table(figures: list[dict[str, Any]]) -> None:
    headings = ["server", "protocol", "rows", "requests/s", "p50 ms", "p99 ms"]
    keys = ["server", "protocol", "rows", "requests_per_second", "p50_ms", "p99_ms"]
    lines = [headings, *([str(row[key]) for key in keys] for row in figures)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        texts = (text.ljust(w) for text, w in zip(line[:2], widths[:2], strict=True))
        numbers = (text.rjust(w) for text, w in zip(line[2:], widths[2:], strict=True))
        print("  ".join([*texts, *numbers]))


def _plain(options: argparse.Namespace) -> dict[str, Any]:
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(options).items()
    }


def _machine() -> dict[str, Any]:
    return {
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    main()
