"""A loaded version of a model, and the execution of its signatures.

The SavedModel is loaded into a session as in TF Serving, not by ``tf.saved_model.load``: the same
feeds and fetches give exactly the same errors of the graph, SavedModels of TensorFlow 1 and 2 load,
a run may have a time limit, and it takes less time than a ConcreteFunction.
"""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.client import pywrap_tf_session

from serving.embedded.flat_tensor import Detour, FlatTensor, Tensor
from serving.embedded.signature import Signature
from serving.embedded.status import Code, StatusError, code_of, invalid_argument
from serving.embedded.tensor_proto import InvalidTensor, dtype_name, ndarray_of


class Servable:
    """A loaded version of a model; every method is thread-safe.

    Attributes:
        model: the model's name.
        version: the version's number.
        signatures: the signatures of the SavedModel by name.
    """

    def __init__(self, model: str, version: int, directory: str) -> None:
        """Load the SavedModel in ``directory``; errors are those of TensorFlow."""
        self.model = model
        self.version = version
        self._edges: dict[str, Any] = {}
        self._graph_def: Any = None
        self._detours: dict[int, Detour] = {}
        self._detours_lock = threading.Lock()
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        try:
            with graph.as_default(), _mute_loading_notices():
                meta_graph = tf.compat.v1.saved_model.load(
                    self._session, [tf.saved_model.SERVING], directory
                )
        except BaseException:
            self._session.close()
            raise
        self.signatures: Mapping[str, Signature] = {
            name: Signature.of(message) for name, message in meta_graph.signature_def.items()
        }

    def close(self) -> None:
        """Free the model. The caller must ensure that no request is running."""
        self._edges.clear()
        self._detours.clear()
        self._session.close()

    def run(
        self,
        signature: Signature,
        inputs: Mapping[str, Tensor],
        outputs: Sequence[str],
        *,
        timeout_in_ms: int = 0,
    ) -> dict[str, Tensor]:
        """Run a signature of this servable.

        Args:
            signature: one of ``signatures``' values.
            inputs: an array per input of the signature; see ``check_inputs``.
            outputs: the outputs to compute.
            timeout_in_ms: the time after which the run is stopped; 0 for no limit.

        Raises:
            StatusError: DEADLINE_EXCEEDED, or an error of the graph.
        """
        given = {
            alias: inputs[alias] if alias in inputs else _default(signature, alias)
            for alias in signature.inputs
        }
        names = sorted({signature.outputs[alias].name for alias in outputs})
        try:
            if any(isinstance(tensor, FlatTensor) for tensor in given.values()):
                results = self._run_around_numpy(signature, given, names, timeout_in_ms)
            else:
                infos = signature.inputs
                feeds = {self._edge(infos[alias].name): given[alias] for alias in given}
                results = self._run(feeds, [self._edge(name) for name in names], timeout_in_ms)
        except tf.errors.OpError as error:
            raise StatusError(code_of(error.error_code), error.message) from error
        by_name = dict(zip(names, results, strict=True))
        return {alias: _as_array(by_name[signature.outputs[alias].name]) for alias in outputs}

    def _run(self, feeds: dict[Any, Any], fetches: list[Any], timeout_in_ms: int) -> list[Any]:
        """One step of the session.

        The public ``run`` of the session checks the declared shape of each feed in Python, with
        other messages. In TF Serving only the graph checks it, and its message is the answer.
        """
        options = config_pb2.RunOptions(timeout_in_ms=timeout_in_ms).SerializeToString()
        buffer = pywrap_tf_session.TF_NewBufferFromString(options)
        try:
            results: list[Any] = self._session._call_tf_sessionrun(buffer, feeds, fetches, [], None)
        finally:
            pywrap_tf_session.TF_DeleteBuffer(buffer)
        return results

    def _run_around_numpy(
        self,
        signature: Signature,
        inputs: Mapping[str, Tensor],
        names: list[str],
        timeout_in_ms: int,
    ) -> list[Tensor]:
        with self._detours_lock:
            if self._graph_def is None:
                self._graph_def = self._session.graph.as_graph_def()
            detour = self._detours.get(id(signature))
            if detour is None:
                detour = Detour(self._session.graph, self._graph_def, signature)
                self._session._extend_graph()
                self._detours[id(signature)] = detour
        fetched = self._run(detour.feeds(inputs), detour.fetches(names), timeout_in_ms)
        return detour.results(fetched)

    def _edge(self, name: str) -> Any:
        """Return the name of a tensor of the graph in the C interface of the session."""
        edge = self._edges.get(name)
        if edge is None:
            edge = self._edges[name] = self._session.graph.get_tensor_by_name(name)._as_tf_output()
        return edge


def _as_array(result: Any) -> Tensor:
    if isinstance(result, FlatTensor):
        return result
    # NumPy's string type would cut trailing zero bytes of a scalar string.
    return np.asarray(result, np.object_ if isinstance(result, bytes) else None)


def check_inputs(signature: Signature, dtypes: Mapping[str, int]) -> None:
    """Check that the required inputs of a signature are present, with the right dtypes.

    Args:
        signature: the signature.
        dtypes: the dtypes of the inputs by name.

    Raises:
        StatusError: INVALID_ARGUMENT; an input is missing, or has another dtype.
    """
    for alias, info in signature.inputs.items():
        if alias not in dtypes and alias not in signature.defaults:
            raise invalid_argument(
                f"Signature input alias: {alias}(feed name: {info.name}) not found in "
                "request and no default value provided. Inputs expected to be in the request "
                f"{{{','.join(sorted(dtypes))}}}, or default input alias set: "
                f"{','.join(signature.defaults)}"
            )
    for index, (alias, info) in enumerate(signature.inputs.items()):
        given = dtypes[alias] if alias in dtypes else signature.defaults[alias].dtype
        if given != info.dtype:
            raise invalid_argument(
                f"Expects arg[{index}] to be {dtype_name(info.dtype)} but {dtype_name(given)} "
                "is provided"
            )


def _default(signature: Signature, alias: str) -> Tensor:
    try:
        return ndarray_of(signature.defaults[alias])
    except InvalidTensor as error:
        raise StatusError(Code.INTERNAL, f"default of input {alias}: {error}") from error


@contextmanager
def _mute_loading_notices() -> Iterator[None]:
    """Hide TensorFlow's hint about its other loader, and its lines about restored variables."""
    logger = logging.getLogger("tensorflow")

    def is_other(record: logging.LogRecord) -> bool:
        return record.levelno > logging.INFO and "is deprecated" not in str(record.msg)

    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)
