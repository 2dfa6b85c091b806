"""Replay of the warm-up requests of a version before it serves."""

import posixpath
import time
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from serving.embedded.examples import classify, multi_inference, regress
from serving.embedded.metrics import ServingMetrics
from serving.embedded.prediction import predict
from serving.embedded.request_monitor import Request
from serving.embedded.servable import Servable
from serving.embedded.status import Code, StatusError, invalid_argument

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
_MAX_RECORDS = 1000


def load_and_warm_up(model: str, version: int, directory: str, metrics: ServingMetrics) -> Servable:
    """Load a version and replay its warm-up requests; a failing request fails the load."""
    servable = Servable(model, version, directory)
    began = time.monotonic()
    warmup = Request(
        "warmup"
    )  # without a caller: it has no deadline, and only its runs are measured
    try:
        number = replay_warmup(servable, directory, warmup)
    except BaseException as error:
        if isinstance(error, StatusError) and error.code is Code.DATA_LOSS:
            metrics.warmup(directory, str(error), time.monotonic() - began, len(warmup.runs))
        servable.close()
        raise
    finally:
        for api, seconds in warmup.runs:
            metrics.run(model, api, seconds)
    if number:
        metrics.warmup(directory, "OK", time.monotonic() - began, number)
    return servable


def replay_warmup(servable: Servable, directory: str, warmup: Request) -> int:
    """Run every record of the version's warm-up file, if there is one; return their number.

    Args:
        servable: the version.
        directory: the folder of the version.
        warmup: the request of all records.

    Raises:
        StatusError: a record fails, has an unsupported kind, or the file is broken or too long. A
            version whose warm-up fails must not serve.
    """
    path = posixpath.join(directory, WARMUP_FILE)
    if not tf.io.gfile.exists(path):
        return 0
    number = 0
    try:
        for number, record in enumerate(tf.data.TFRecordDataset(path).as_numpy_iterator(), 1):
            if number > _MAX_RECORDS:
                raise invalid_argument(
                    f"Number of warmup records exceeds the maximum ({_MAX_RECORDS}) at {path}"
                )
            _run(warmup, servable, _parse_record(record, path))
    except tf.errors.DataLossError as error:
        raise StatusError(
            Code.DATA_LOSS, f"{error.message}. Please verify your data is TFRecord format: {path}"
        ) from error
    return number


def _parse_record(record: bytes, path: str) -> Any:
    try:
        return prediction_log_pb2.PredictionLog.FromString(record)
    except DecodeError as error:
        raise invalid_argument(f"Failed to parse warmup record from {path}") from error


def _run(warmup: Request, servable: Servable, log: Any) -> None:
    match log.WhichOneof("log_type"):
        case "predict_log":
            request = log.predict_log.request
            name = request.model_spec.signature_name
            predict(warmup, servable, name, request.inputs, request.output_filter)
        case "classify_log" | "regress_log" as kind:
            run = classify if kind == "classify_log" else regress
            request = getattr(log, kind).request
            run(warmup, servable, request.model_spec.signature_name, request.input)
        case "multi_inference_log":
            multi_inference(warmup, servable, log.multi_inference_log.request)
        case None:
            return
        case other:
            raise StatusError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {other}")
