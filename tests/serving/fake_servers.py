"""Small servers that speak TensorFlow Serving's protocols over real sockets, and fail on demand.

They serve ``NumpyModel``: the contract written once more, in plain NumPy.
"""

import contextlib
import gzip
import json
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import grpc
import numpy as np
from numpy.typing import NDArray

from export.wire import serving_pb2, tensor_pb2
from kmeans_module.contract import SIGNATURES
from serving.clients.tensors import tensor_bytes, tensor_header, to_array

Arrays = dict[str, NDArray[Any]]


def to_tensor(array: NDArray[Any]) -> tensor_pb2.TensorProto:
    """The tensor of an array, as a client sends its two pieces."""
    tensor = tensor_header(array.dtype, array.shape)
    tensor.tensor_content = tensor_bytes(array).tobytes()
    return tensor


HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


class Failure(Exception):
    """What a server answers instead of an answer: the name of a gRPC code, and a text."""

    def __init__(self, code: str, message: str, rest_message: str | None = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.rest_message = message if rest_message is None else rest_message


class NumpyModel:
    """A model of three clusters in two dimensions, that answers as the contract says."""

    name = "customers"
    centroids = np.array([[0, 0], [10, 0], [0, 10]], np.float32)

    def __init__(self) -> None:
        self.states = {2: "AVAILABLE", 1: "AVAILABLE"}
        self.labels = {"stable": 1}

    def version(self, name: str, version: int | None, label: str | None) -> int:
        loaded = [number for number, state in self.states.items() if state == "AVAILABLE"]
        if label is not None:
            if name != self.name or label not in self.labels:
                raise Failure("INVALID_ARGUMENT", f"Unrecognized servable version label: {label}")
            version = self.labels[label]
        if name != self.name or not loaded or (version is not None and version not in loaded):
            asked = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise Failure("NOT_FOUND", f"Servable not found for request: {asked}")
        return max(loaded) if version is None else version

    def status(self, name: str, version: int | None) -> dict[int, str]:
        if name != self.name or (version is not None and version not in self.states):
            asked = "any versions" if version is None else f"version {version}"
            raise Failure("NOT_FOUND", f"Could not find {asked} of model {name}")
        return {number: state for number, state in self.states.items() if version in (None, number)}

    def answer(self, signature: str, inputs: Arrays) -> Arrays:
        if signature not in SIGNATURES:
            raise Failure(
                "FAILED_PRECONDITION",
                f'Serving signature key "{signature}" not found.',
                f'Serving signature name: "{signature}" not found in signature def',
            )
        for tensor in SIGNATURES[signature].inputs:
            given = inputs[tensor.name]
            assert given.dtype.name == tensor.dtype
            if tensor.shape[-1] == "d" and given.shape[-1:] != (2,):
                raise Failure(
                    "INVALID_ARGUMENT",
                    f"Shape of tensor {tensor.name} {list(given.shape)} is not compatible with "
                    "expected shape [?,2].\n\t [[{{node EnsureShape}}]]",
                )
        if signature == "decode":
            return self._decode(inputs["cluster_index"])
        if signature == "fit_step":
            return self._fit_step(**inputs)
        return self._of_points(signature, inputs["points"])

    def _decode(self, index: NDArray[np.int32]) -> Arrays:
        for at, value in enumerate(index):
            if not 0 <= value < len(self.centroids):
                raise Failure("INVALID_ARGUMENT", f"indices[{at}] = {value} is not in [0, 3)")
        return {"centroid": self.centroids[index]}

    def _of_points(self, signature: str, points: NDArray[np.float32]) -> Arrays:
        bad: NDArray[np.bool_] = np.logical_not(np.isfinite(points).all(axis=1))
        clean = np.where(bad[:, None], np.float32(0), points)
        distances = np.linalg.norm(clean[:, None] - self.centroids[None], axis=2)
        distances[bad] = -1
        index = np.where(bad, -1, distances.argmin(axis=1)).astype(np.int32)
        ordered = np.sort(distances, axis=1)
        nearest, second = ordered[:, 0], ordered[:, 1]
        if signature == "transform":
            return {"all_distances": distances}
        if signature == "score":
            squared = np.where(bad, np.float32(-1), nearest * nearest)
            silhouette = np.where(bad, np.float32(0), (second - nearest) / second)
            return {"squared_distance": squared, "silhouette": silhouette}
        return {"cluster_index": index, "distance": nearest}

    def _fit_step(self, points: Any, sample_weight: Any, centroids: Any) -> Arrays:
        b, k, d = centroids.shape
        outputs = {
            "centroids": np.empty((b, k, d), np.float32),
            "counts": np.empty((b, k), np.float32),
            "inertia": np.empty(b, np.float32),
            "shift": np.empty(b, np.float32),
        }
        for at in range(b):
            step = _lloyd(points[at], sample_weight[at], centroids[at].astype(np.float64))
            for array, value in zip(outputs.values(), step, strict=True):
                array[at] = value
        return outputs


def _lloyd(points: Any, weight: Any, centroids: Any) -> tuple[Any, Any, float, float]:
    squares = ((points[:, None] - centroids[None]) ** 2).sum(axis=2)
    member = np.eye(len(centroids))[squares.argmin(axis=1)] * weight[:, None]
    counts = member.sum(axis=0)
    means = (member.T @ points) / np.maximum(counts, 1e-30)[:, None]
    moved = np.where(counts[:, None] > 0, means, centroids)
    inertia = float((squares.min(axis=1) * weight).sum())
    return moved, counts, inertia, float(((moved - centroids) ** 2).sum())


class FakeServer:
    """What both servers have: a script of failures, a gate, and a count of the calls.

    As TensorFlow Serving with ``--enable_batching``, they do not answer a request without rows.

    Attributes:
        failures: each call takes one from the left and fails with it, until none is left.
        gate: calls wait until it is set.
        calls: the names of the calls that came in.
        change_answer: alters an answer of Predict before it goes out.
        width: the number of features that the metadata tell.
        dtype: the dtype of the inputs ``points`` that the metadata tell.
        sent_headers: the headers of each call.
        rows, versions, request_bytes: of each call of Predict, what it asked.
        most_at_once: the most calls that were under way at a time.
        allowed_at_once: above it, calls are refused as TensorFlow Serving refuses what is above
            ``--grpc_max_threads``; None is no limit. gRPC alone; a call counts until it is over.
        refused: the number of calls that were.
    """

    def __init__(self) -> None:
        self.model = NumpyModel()
        self.failures: deque[Failure] = deque()
        self.gate = threading.Event()
        self.gate.set()
        self._end = threading.Event()
        self.calls: list[str] = []
        self.change_answer: Callable[[Arrays], Arrays] = lambda outputs: outputs
        self.address = ""
        self.width = 2
        self.dtype: tensor_pb2.DataType = tensor_pb2.DT_FLOAT
        self.sent_headers: list[dict[str, str]] = []
        self.rows: list[int] = []
        self.versions: list[int] = []
        self.request_bytes: list[int] = []
        self.at_once = self.most_at_once = self.refused = self._threads = 0
        self.allowed_at_once: int | None = None
        self._lock = threading.Lock()

    def predicts(self) -> int:
        """How many calls of Predict came in."""
        return sum(call == "Predict" or call.endswith(":predict") for call in self.calls)

    @contextlib.contextmanager
    def under_way(self, call: str) -> Iterator[None]:
        """One call, until it is answered."""
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self.calls.append(call)
        try:
            assert self.gate.wait(30)
            if self.failures:
                raise self.failures.popleft()
            yield
        finally:
            with self._lock:
                self.at_once -= 1

    def take_thread(self) -> bool:
        """Whether a call may begin; then it has a thread until ``give_thread``."""
        with self._lock:
            may_begin = self.allowed_at_once is None or self._threads < self.allowed_at_once
            self._threads += may_begin
            self.refused += not may_begin
        return may_begin

    def give_thread(self) -> None:
        with self._lock:
            self._threads -= 1

    def asked(self, version: int, inputs: Arrays, size: int) -> None:
        """Keep what a call of Predict asked."""
        self.versions.append(version)
        self.rows.append(len(next(iter(inputs.values()))))
        self.request_bytes.append(size)
        if not self.rows[-1]:
            self._end.wait()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.01)

    def signature_def_map(self) -> tensor_pb2.SignatureDefMap:
        return signature_def_map(self.width, self.dtype)

    def stop(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self.gate.set()
        self.stop()


class FakeGrpcServer(FakeServer):
    def __init__(
        self,
        port: int = 0,
        credentials: grpc.ServerCredentials | None = None,
        host: str = "127.0.0.1",
        threads: int = 8,
    ) -> None:
        super().__init__()
        self._server = grpc.server(
            ThreadPoolExecutor(threads), options=[("grpc.max_receive_message_length", -1)]
        )
        services: dict[str, dict[str, tuple[Callable[[Any], Any], Any]]] = {
            "tensorflow.serving.PredictionService": {
                "Predict": (self._predict, serving_pb2.PredictRequest),
                "GetModelMetadata": (self._metadata, serving_pb2.GetModelMetadataRequest),
            },
            "tensorflow.serving.ModelService": {
                "GetModelStatus": (self._status, serving_pb2.GetModelStatusRequest),
            },
        }
        for service, methods in services.items():
            handlers: dict[str, Any] = {
                name: grpc.unary_unary_rpc_method_handler(
                    self._guarded(name, method),
                    request_deserializer=request.FromString,
                    response_serializer=lambda answer: answer.SerializeToString(),
                )
                for name, (method, request) in methods.items()
            }
            self._server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(service, handlers),)
            )
        place = host if host.startswith("unix:") else f"{host}:{port}"
        if credentials is None:
            port = self._server.add_insecure_port(place)
        else:
            port = self._server.add_secure_port(place, credentials)
        self.address = host if host.startswith("unix:") else f"{host}:{port}"
        self.tensor_content = False
        self._server.start()

    def _guarded(self, name: str, method: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            if not self.take_thread():
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")
            if not context.add_callback(self.give_thread):
                self.give_thread()  # the client is gone already
            try:
                self.sent_headers.append(
                    {name: str(value) for name, value in context.invocation_metadata()}
                )
                with self.under_way(name):
                    return method(request)
            except Failure as failure:
                context.abort(grpc.StatusCode[failure.code], failure.message)

        return handle

    def _resolved(self, spec: Any) -> int:
        return self.model.version(
            spec.name,
            spec.version.value if spec.HasField("version") else None,
            spec.version_label if spec.HasField("version_label") else None,
        )

    def _predict(self, request: Any) -> Any:
        version = self._resolved(request.model_spec)
        inputs = {name: to_array(tensor) for name, tensor in request.inputs.items()}
        self.asked(version, inputs, request.ByteSize())
        outputs = self.model.answer(request.model_spec.signature_name, inputs)
        answer = serving_pb2.PredictResponse()
        answer.model_spec.name = request.model_spec.name
        answer.model_spec.version.value = version
        for name, array in self.change_answer(outputs).items():
            answer.outputs[name].CopyFrom(self._tensor(array))
        return answer

    def _tensor(self, array: NDArray[Any]) -> tensor_pb2.TensorProto:
        floats = array.dtype.kind == "f"
        tensor = tensor_pb2.TensorProto(
            dtype=tensor_pb2.DT_FLOAT if floats else tensor_pb2.DT_INT32
        )
        for size in array.shape:
            tensor.tensor_shape.dim.add(size=size)
        if self.tensor_content:
            tensor.tensor_content = array.tobytes()
        else:
            (tensor.float_val if floats else tensor.int_val).extend(array.ravel().tolist())
        return tensor

    def _status(self, request: Any) -> Any:
        spec = request.model_spec
        version = spec.version.value if spec.HasField("version") else None
        answer = serving_pb2.GetModelStatusResponse()
        for number, state in self.model.status(spec.name, version).items():
            value = serving_pb2.ModelVersionStatus.State.Value(state)
            each = answer.model_version_status.add(version=number, state=value)
            if state == "END":
                each.status.error_code, each.status.error_message = 5, "no such file"
            else:
                each.status.error_code = 0
        return answer

    def _metadata(self, request: Any) -> Any:
        answer = serving_pb2.GetModelMetadataResponse()
        answer.model_spec.version.value = self._resolved(request.model_spec)
        value = answer.metadata["signature_def"]
        value.type_url = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
        value.value = self.signature_def_map().SerializeToString()
        return answer

    def stop(self) -> None:
        self._server.stop(None).wait()


class FakeRestServer(FakeServer):
    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        super().__init__()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self._answer(None)

            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers["Content-Length"])))

            def _answer(self, body: bytes | None) -> None:
                owner.sent_headers.append({k.lower(): v for k, v in self.headers.items()})
                if self.headers["Content-Encoding"] == "gzip":
                    body = gzip.decompress(body or b"")
                status, content = owner.handle(self.path, body)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                for name, value in owner.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def process_request(self, request: Any, client_address: Any) -> None:
                owner.connections.append(request)
                super().process_request(request, client_address)

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that went away is what some tests are about."""

        self.connections: list[socket.socket] = []
        self._server = Server(("127.0.0.1", port), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.address = f"127.0.0.1:{self._server.server_port}"
        self.bodies: list[bytes] = []
        self.headers: dict[str, str] = {}  # of each answer besides
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def handle(self, path: str, body: bytes | None) -> tuple[int, bytes]:
        if body is not None:
            self.bodies.append(body)
        try:
            with self.under_way(path):
                return 200, json.dumps(self._answered(path, body)).encode()
        except Failure as failure:
            error = {"error": failure.rest_message}
            return HTTP_STATUS[failure.code], json.dumps(error, indent=4).encode()

    def _answered(self, path: str, body: bytes | None) -> Any:
        path, _, method = path.removeprefix("/v1/models/").partition(":")
        name, *place = path.split("/")
        is_metadata = place[-1:] == ["metadata"]
        version = int(place[1]) if place[:1] == ["versions"] else None
        label = place[1] if place[:1] == ["labels"] else None
        if method == "predict":
            assert body is not None
            found = self.model.version(name, version, label)
            return self._predicted(json.loads(body), found, len(body))
        if is_metadata:
            return self._metadata(self.model.version(name, version, label))
        return {
            "model_version_status": [
                {"version": str(number), "state": state, "status": self._load_status(state)}
                for number, state in self.model.status(name, version).items()
            ]
        }

    def _load_status(self, state: str) -> dict[str, str]:
        if state == "END":
            return {"error_code": "NOT_FOUND", "error_message": "no such file"}
        return {"error_code": "OK", "error_message": ""}

    def _predicted(self, asked: Any, version: int, size: int) -> Any:
        name = asked["signature_name"]
        signature = SIGNATURES.get(name)
        if signature is None:
            self.model.answer(name, {})
            raise AssertionError(name)
        values = asked.get("inputs")
        if "instances" in asked:
            assert asked["instances"], "TensorFlow Serving refuses an empty list of instances"
            values = {signature.inputs[0].name: asked["instances"]}
        inputs = {
            tensor.name: np.array(values[tensor.name], tensor.dtype) for tensor in signature.inputs
        }
        self.asked(version, inputs, size)
        outputs = self.change_answer(self.model.answer(name, inputs))
        lists = {name: array.tolist() for name, array in outputs.items()}
        value = next(iter(lists.values())) if len(lists) == 1 else lists
        return {"predictions" if "instances" in asked else "outputs": value}

    def _metadata(self, version: int) -> Any:
        def declared(tensors: Any) -> Any:
            return {name: _tensor_info_json(tensor) for name, tensor in tensors.items()}

        return {
            "model_spec": {"name": self.model.name, "signature_name": "", "version": str(version)},
            "metadata": {
                "signature_def": {
                    "signature_def": {
                        name: {
                            "inputs": declared(each.inputs),
                            "outputs": declared(each.outputs),
                            "method_name": each.method_name,
                            "defaults": {},
                        }
                        for name, each in self.signature_def_map().signature_def.items()
                    }
                }
            },
        }

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        for connection in self.connections:
            with contextlib.suppress(OSError):  # already closed
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()


def signature_def_map(width: int, points: tensor_pb2.DataType) -> tensor_pb2.SignatureDefMap:
    """The signatures of the contract as a server tells them, its own bookkeeping among them."""
    sizes = {"transform": {"d": width, "k": len(NumpyModel.centroids)}}
    found = tensor_pb2.SignatureDefMap()
    for signature in SIGNATURES.values():
        each = found.signature_def[signature.name]
        each.method_name = "tensorflow/serving/predict"
        for tensors, declared in (
            (signature.inputs, each.inputs),
            (signature.outputs, each.outputs),
        ):
            for tensor in tensors:
                declared[tensor.name].dtype = (
                    tensor_pb2.DT_FLOAT if tensor.dtype == "float32" else tensor_pb2.DT_INT32
                )
                for letter in tensor.shape:
                    declared[tensor.name].tensor_shape.dim.add(
                        size=sizes.get(signature.name, {"d": width}).get(letter, -1)
                    )
        if "points" in each.inputs:
            each.inputs["points"].dtype = points
    init = found.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"]
    init.tensor_shape.unknown_rank = True
    return found


def _tensor_info_json(tensor: Any) -> Any:
    return {
        "name": "",
        "dtype": tensor_pb2.DataType.Name(tensor.dtype),
        "tensor_shape": {
            "dim": [{"size": str(dim.size), "name": ""} for dim in tensor.tensor_shape.dim],
            "unknown_rank": tensor.tensor_shape.unknown_rank,
        },
    }
