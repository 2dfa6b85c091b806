"""Measure the client time of a call: our client, that of the tutorial, and gRPC alone.

::

    python benchmarks/clients.py [--rounds N] [--json FILE] [--server HOST:PORT --model NAME]

A server without a model, in its own process, answers ``assign`` with precomputed bytes, so that
only the client is measured; ``--server`` uses a running server instead. Three clients call it,
interleaved, each on five channels in turn:

- bare: the gRPC stub with precomputed request bytes, and without parsing the answer;
- ours: ``GrpcClient.assign``, from array to arrays;
- tutorial: ``tf.make_tensor_proto`` and ``tf.make_ndarray`` around the official stub.

It prints the median milliseconds of a call and the ratios, of the medians and of the means of the
fastest tenth, which depend less on other load of the machine; and writes them as JSON.
"""

import argparse
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np

# As a script, this folder comes first, and its serving.py would hide the package.
sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).parent]

ROWS: Final = (1, 32, 1024, 8192, 100_000)
FEATURES: Final = 64
CLUSTERS: Final = 10
_PREDICT: Final = "/tensorflow.serving.PredictionService/Predict"
_UNLIMITED: Final = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
_MODEL: Final = "customers"
#: Two channels of the same kind may differ by a tenth as long as they are open.
_OPENINGS: Final = 5


def _answer(rows: int) -> bytes:
    """Make the answer to ``assign``, in typed fields as TensorFlow Serving writes it by default."""
    from export.wire import serving_pb2, tensor_pb2

    answer = serving_pb2.PredictResponse()
    answer.model_spec.name, answer.model_spec.version.value = _MODEL, 1
    index, distance = answer.outputs["cluster_index"], answer.outputs["distance"]
    index.dtype, distance.dtype = tensor_pb2.DT_INT32, tensor_pb2.DT_FLOAT
    for tensor in (index, distance):
        tensor.tensor_shape.dim.add(size=rows)
    index.int_val.extend((np.arange(rows) % CLUSTERS).tolist())
    distance.float_val.extend(np.linspace(0, 9, rows, dtype=np.float32).tolist())
    return answer.SerializeToString()


def _metadata() -> bytes:
    from export.wire import serving_pb2, tensor_pb2
    from kmeans_module.contract import SIGNATURES

    found = tensor_pb2.SignatureDefMap()
    points = found.signature_def["assign"].inputs["points"]
    points.dtype = tensor_pb2.DT_FLOAT
    points.tensor_shape.dim.add(size=-1)
    points.tensor_shape.dim.add(size=FEATURES)
    assert "assign" in SIGNATURES
    answer = serving_pb2.GetModelMetadataResponse()
    answer.model_spec.version.value = 1
    answer.metadata["signature_def"].value = found.SerializeToString()
    return answer.SerializeToString()


def serve(parent: Connection) -> None:
    """Answer until the parent ends it."""
    answers: dict[int, bytes] = {}
    row_bytes = 4 * FEATURES

    def predict(request: bytes, _context: Any) -> bytes:
        # The rows of a request, from its size: the rest has a few dozen bytes.
        rows = len(request) // row_bytes
        if rows not in answers:
            answers[rows] = _answer(rows)
        return answers[rows]

    described = _metadata()
    handlers: dict[str, Any] = {
        "Predict": grpc.unary_unary_rpc_method_handler(predict),
        "GetModelMetadata": grpc.unary_unary_rpc_method_handler(lambda _request, _: described),
    }
    server = grpc.server(ThreadPoolExecutor(4), options=_UNLIMITED)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", handlers),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    parent.send(port)
    parent.recv()
    server.stop(None).wait()


def _bare(address: str, model: str, points: np.ndarray[Any, Any]) -> Callable[[], Any]:
    from export.wire import serving_pb2
    from serving.clients.tensors import tensor_header

    request = serving_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, "assign"
    request.inputs["points"].CopyFrom(tensor_header(points.dtype, points.shape))
    request.inputs["points"].tensor_content = points.tobytes()
    sent = request.SerializeToString()
    call: Any = grpc.insecure_channel(address, _UNLIMITED).unary_unary(_PREDICT)
    return lambda: call(sent, timeout=60)


def _ours(address: str, model: str, points: np.ndarray[Any, Any]) -> Callable[[], Any]:
    from serving import GrpcClient

    client = GrpcClient(address, model, timeout=60)
    return lambda: client.assign(points)


def _tutorial(address: str, model: str, points: np.ndarray[Any, Any]) -> Callable[[], Any]:
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    stub = prediction_service_pb2_grpc.PredictionServiceStub(
        grpc.insecure_channel(address, _UNLIMITED)
    )

    def call() -> Any:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = model
        request.model_spec.signature_name = "assign"
        request.inputs["points"].CopyFrom(tf.make_tensor_proto(points))
        answer = stub.Predict(request, 60)
        return {name: tf.make_ndarray(tensor) for name, tensor in answer.outputs.items()}

    return call


@contextmanager
def _server() -> Iterator[str]:
    """Start the server without a model in its own process; yield its address."""
    context = multiprocessing.get_context("spawn")  # gRPC does not work after a fork
    here, there = context.Pipe()
    server = context.Process(target=serve, args=(there,))
    server.start()
    try:
        yield f"127.0.0.1:{here.recv()}"
    finally:
        here.send("enough")
        server.join()


def _features(address: str, model: str) -> int:
    """Return the number of features of a model."""
    from serving import GrpcClient

    with GrpcClient(address, model, timeout=60) as client:
        shape = client.metadata().signatures["assign"].inputs["points"].shape
    if shape is None or shape[1] is None:
        sys.exit(f"the model {model} on {address} has no fixed number of features")
    return shape[1]


def measure(address: str, model: str, rounds: int) -> list[dict[str, float]]:
    """Return the median milliseconds of a call by client and number of rows, and ratios."""
    results = []
    features = _features(address, model)
    for rows in ROWS:
        points = np.random.default_rng(0).normal(size=(rows, features)).astype(np.float32)
        kinds = {"bare": _bare, "ours": _ours, "tutorial": _tutorial}
        spent: dict[str, list[float]] = {name: [] for name in kinds}
        calls = max(15, rounds // (10 if rows > 10_000 else 1)) // _OPENINGS
        for _ in range(_OPENINGS):
            clients = {name: make(address, model, points) for name, make in kinds.items()}
            for number in range(calls + 3):
                for name, call in clients.items():
                    start = time.perf_counter()
                    call()
                    if number >= 3:  # the first calls connect, and the server computes its answer
                        spent[name].append((time.perf_counter() - start) * 1e3)
        medians = {name: statistics.median(values) for name, values in spent.items()}
        quickest = {
            name: statistics.fmean(sorted(values)[: max(1, len(values) // 10)])
            for name, values in spent.items()
        }
        results.append(
            {"rows": rows, **medians}
            | {
                "ours_to_bare": medians["ours"] / medians["bare"],
                "ours_to_bare_quickest": quickest["ours"] / quickest["bare"],
                "tutorial_to_bare": medians["tutorial"] / medians["bare"],
            }
        )
    return results


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300, help="calls of each client and size")
    parser.add_argument("--json", type=Path, default=Path("build/benchmarks/clients.json"))
    parser.add_argument("--server", metavar="HOST:PORT", help="address of a running gRPC server")
    parser.add_argument("--model", default=_MODEL, help="the name of its model")
    arguments = parser.parse_args()
    with nullcontext(arguments.server) if arguments.server else _server() as address:
        results = measure(address, arguments.model, arguments.rounds)
    print(
        f"{'rows':>8} {'bare ms':>9} {'ours ms':>9} {'tutorial ms':>12} "
        f"{'ours/bare':>10} {'quickest':>9}"
    )
    for each in results:
        print(
            f"{each['rows']:>8,} {each['bare']:>9.3f} {each['ours']:>9.3f} "
            f"{each['tutorial']:>12.3f} {each['ours_to_bare']:>10.2f} "
            f"{each['ours_to_bare_quickest']:>9.2f}"
        )
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps({"calls": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
