"""The embedded server: TF Serving's protocol in this process."""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from os import PathLike, cpu_count, fspath
from pathlib import Path
from typing import Any, Self

import grpc

from serving.embedded.errors import (
    InvalidModelConfig,
    InvalidMonitoringConfig,
    InvalidOptions,
    ModelLoadFailed,
)
from serving.embedded.grpc_listener import GrpcListener, read_server_credentials
from serving.embedded.http_responses import MetricsPage
from serving.embedded.limits import ServerLimits, connections
from serving.embedded.metrics import ServingMetrics
from serving.embedded.model_config import read_model_config, single_model
from serving.embedded.option_messages import MonitoringConfig, read_text_message
from serving.embedded.option_ranges import MAX_COUNT, MAX_LARGE
from serving.embedded.options import check_base_path, check_sources
from serving.embedded.own_entry import OwnEntry, step_towards
from serving.embedded.request_monitor import RequestMonitor
from serving.embedded.rest import RestApplication
from serving.embedded.rest_listener import RestListener
from serving.embedded.servable import Servable
from serving.embedded.served_models import ServedModels
from serving.embedded.sockets import AUTO, Port, address_of, bind_socket, check_port
from serving.embedded.status import Code, StatusError
from serving.embedded.warmup import load_and_warm_up

_logger = logging.getLogger("serving.embedded")
#: Seconds for answering accepted requests after a stop.
_GRACE = 30.0
#: Threads for REST and for gRPC, each.
_THREADS_PER_CPU = 4
#: Threads of reloads, which wait for new models, with retries for minutes; further reloads queue.
_RELOADING_THREADS = 8


class EmbeddedServer:
    """Serves SavedModels over gRPC and REST like TF Serving, on an event loop in its own thread.

    Either ``model_name`` and ``model_base_path`` or ``model_config_file`` selects the models; the
    options are the flags of TF Serving with the same names. With ``entry_config_file``, the single
    model is served according to its entry in that file.

    Attributes:
        metrics: a collector of prometheus_client.
        grpc_address: ``host:port`` of gRPC; None if it is off or the server is not started.
        rest_address: ``host:port`` of REST; None if it is off or the server is not started.

    Example:
        >>> from tfkmeans import EmbeddedServer, GrpcClient
        >>> base = "models/customers"
        >>> with EmbeddedServer(model_name="customers", model_base_path=base) as server:
        ...     with GrpcClient(server.grpc_address, "customers") as client:
        ...         client.wait_until_ready()
        ...         client.assign([[20.0, 1.0]]).version
        1
    """

    def __init__(
        self,
        *,
        model_name: str | None = None,
        model_base_path: str | PathLike[str] | None = None,
        model_config_file: str | PathLike[str] | None = None,
        entry_config_file: str | PathLike[str] | None = None,
        host: str = "127.0.0.1",
        port: Port = "auto",
        rest_api_port: Port = "auto",
        file_system_poll_wait_seconds: float = 1.0,
        model_config_file_poll_wait_seconds: float = 0.0,
        allow_version_labels_for_unavailable_models: bool = False,
        max_num_load_retries: int = 5,
        load_retry_interval_micros: int = 60_000_000,
        enable_model_warmup: bool = True,
        rest_api_timeout_in_ms: int = 30_000,
        ssl_config_file: str | PathLike[str] | None = None,
        monitoring_config_file: str | PathLike[str] | None = None,
        enable_grpc_healthcheck_service: bool = False,
        limits: ServerLimits | None = None,
    ) -> None:
        """Check the options; files are read and ports are opened by ``start``.

        Args:
            model_name: the name of the single model.
            model_base_path: the folder with its version folders, as a path or an address of
                ``tf.io.gfile``.
            model_config_file: a ModelServerConfig in text format, instead of the two above.
            entry_config_file: a ModelServerConfig in text format whose entry of ``model_name``
                gives the served versions of ``model_base_path`` and their labels. It is read at
                every poll for new versions; without such an entry the latest version is served.
                Other entries, also in a reload, are logged and ignored.
            host: the name or address to listen on.
            port: the gRPC port; 0 is off, ``"auto"`` selects a free port.
            rest_api_port: the REST port; 0 is off, ``"auto"`` selects a free port.
            file_system_poll_wait_seconds: the interval of polls for new versions; with 0 there is
                only one, at the start.
            model_config_file_poll_wait_seconds: the interval of polls for a new config; with 0
                there is only one, at the start.
            allow_version_labels_for_unavailable_models: allow a new label on a version that is not
                loaded yet; required for labels at the start.
            max_num_load_retries: the number of retries of a failed load.
            load_retry_interval_micros: the microseconds between two tries.
            enable_model_warmup: replay the warm-up requests of a version before it serves.
            rest_api_timeout_in_ms: the time after which the run of a REST request is stopped; 0
                for no limit. A gRPC request has the deadline of the client.
            ssl_config_file: an SSLConfig in text format, which turns on TLS for gRPC, never for
                REST.
            monitoring_config_file: a MonitoringConfig in text format, which turns on the page of
                metrics.
            enable_grpc_healthcheck_service: serve ``grpc.health.v1.Health`` over gRPC.
            limits: limits on resources; None for the defaults.

        Raises:
            InvalidOptions: the options contradict each other, or an option is out of range.
        """
        check_port("port", port)
        check_port("rest_api_port", rest_api_port)
        if port == 0 and rest_api_port == 0:
            raise InvalidOptions("port and rest_api_port are both 0 (off); turn one of them on")
        if port == rest_api_port and port != AUTO:
            raise InvalidOptions(
                f"port and rest_api_port are both {port}; give each a port of its own"
            )
        numbers = {
            "file_system_poll_wait_seconds": file_system_poll_wait_seconds,
            "model_config_file_poll_wait_seconds": model_config_file_poll_wait_seconds,
            "max_num_load_retries": max_num_load_retries,
            "load_retry_interval_micros": load_retry_interval_micros,
            "rest_api_timeout_in_ms": rest_api_timeout_in_ms,
        }
        for name, value in numbers.items():
            most = MAX_LARGE if name.endswith("_micros") else MAX_COUNT
            if not 0 <= value <= most:
                raise InvalidOptions(f"{name} {value} is not from 0 to {most}")
        check_sources(
            model_name, model_base_path, model_config_file, model_config_file_poll_wait_seconds
        )
        self._model_name = model_name
        self._base_path = None if model_base_path is None else fspath(model_base_path)
        self._config_file = None if model_config_file is None else Path(model_config_file)
        self._own_entry: OwnEntry | None = None
        if entry_config_file is not None:
            if self._model_name is None or self._base_path is None:
                raise InvalidOptions("entry_config_file needs model_name and model_base_path")
            self._own_entry = OwnEntry(self._model_name, self._base_path, Path(entry_config_file))
        self._host = host
        self._port = port
        self._rest_api_port = rest_api_port
        self._poll_wait = file_system_poll_wait_seconds
        self._config_poll_wait = model_config_file_poll_wait_seconds
        if self._own_entry is not None:
            self._config_poll_wait = file_system_poll_wait_seconds
        self._config: Any = None
        self._rest_timeout = rest_api_timeout_in_ms / 1000 or None
        self._ssl_config_file = None if ssl_config_file is None else Path(ssl_config_file)
        self._monitoring_config_file = (
            None if monitoring_config_file is None else Path(monitoring_config_file)
        )
        self._credentials: grpc.ServerCredentials | None = None
        self._metrics_page: MetricsPage | None = None
        self._is_warmup_enabled = enable_model_warmup
        self.metrics = ServingMetrics()
        self._limits = limits or ServerLimits()
        self._has_health_service = enable_grpc_healthcheck_service
        self._models = ServedModels(
            self._load_version,
            max_retries=max_num_load_retries,
            retry_interval=load_retry_interval_micros / 1e6,
            allow_version_labels_for_unavailable_models=allow_version_labels_for_unavailable_models,
            select=None if self._own_entry is None else self._own_entry.select,
        )
        self._monitor = RequestMonitor(self.metrics, self._models.has, self._limits)
        self._threads: list[threading.Thread] = []
        self._stop_polling = threading.Event()
        self._stop_listening: Future[None] = Future()
        self.grpc_address: str | None = None
        self.rest_address: str | None = None

    def start(self) -> Self:
        """Load the models, then open the ports, so that an open port answers.

        Returns:
            The server; ``with`` starts and stops it too.

        Raises:
            ServerStartError: the reason, in one line.

        Example:
            >>> from tfkmeans import EmbeddedServer
            >>> base = "models/customers"
            >>> server = EmbeddedServer(model_name="customers", model_base_path=base).start()
            >>> server.grpc_address
            '127.0.0.1:...'
            >>> server.stop()
        """
        self._stop_polling.clear()
        self._stop_listening = Future()
        try:
            self._read_option_files()
            self._check_ports()
            self._load()
            self._listen()
        except BaseException:
            self.stop()
            raise
        if self._poll_wait > 0:
            self._run_thread(self._poll_versions, "serving-embedded-versions")
        if self._config_poll_wait > 0:
            self._run_thread(self._poll_config, "serving-embedded-config")
        return self

    def stop(self) -> None:
        """Refuse new requests, answer accepted ones, unload the models, end the threads.

        It may be called again, and on a server that was not started.

        Example:
            >>> from tfkmeans import EmbeddedServer
            >>> base = "models/customers"
            >>> server = EmbeddedServer(model_name="customers", model_base_path=base).start()
            >>> server.stop()
            >>> print(server.grpc_address)
            None
        """
        self._stop_polling.set()
        self._models.give_up_retries()
        if not self._stop_listening.done():
            self._stop_listening.set_result(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self._models.unload_all()
        self.grpc_address = self.rest_address = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run_thread(self, target: Callable[..., None], name: str, *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _read_option_files(self) -> None:
        if self._ssl_config_file is not None:
            self._credentials = read_server_credentials(self._ssl_config_file)
        if self._monitoring_config_file is not None:
            config = read_text_message(
                "monitoring config file",
                self._monitoring_config_file,
                MonitoringConfig(),
                InvalidMonitoringConfig,
            ).prometheus_config
            self._metrics_page = MetricsPage(config.path, self.metrics) if config.enable else None

    def _check_ports(self) -> None:
        """Check that the ports are free before the models are loaded."""
        for option, port in (("port", self._port), ("rest_api_port", self._rest_api_port)):
            if port != 0:
                bind_socket(option, self._host, port).close()

    # Models

    def _load_version(self, model: str, version: int, directory: str) -> Servable:
        if self._is_warmup_enabled:
            return load_and_warm_up(model, version, directory, self.metrics)
        return Servable(model, version, directory)

    def _load(self) -> None:
        if self._own_entry is not None:
            self._config = self._own_entry.read(None)
        elif self._config_file is not None:
            self._config = read_model_config(self._config_file)
        else:
            assert self._model_name is not None
            assert self._base_path is not None
            self._config = single_model(self._model_name, self._base_path)
        for model in self._config.config:
            check_base_path(model)
        try:
            self._models.configure(self._config)
        except StatusError as error:
            raise InvalidModelConfig(
                f"{error.message}; allow_version_labels_for_unavailable_models lets labels be "
                "there from the start"
            ) from error
        self._models.load_until_settled()
        for model in self._config.config:
            for state in self._models.states(model.name):
                if state.code is not Code.OK:
                    reason = " ".join(state.message.split())
                    raise ModelLoadFailed(
                        f"version {state.version} of model {model.name} in {model.base_path} "
                        f"does not load: {reason}; correct or remove the folder of the version"
                    )

    def _poll_versions(self) -> None:
        while True:
            retry = self._models.next_retry()
            wait = self._poll_wait if retry is None else min(self._poll_wait, retry)
            if self._stop_polling.wait(wait):
                return
            self._models.poll()

    def _read_config(self) -> Any:
        if self._own_entry is not None:
            return self._own_entry.read(self._config)
        assert self._config_file is not None
        return read_model_config(self._config_file, self._models.names())

    def _follow_config(self, config: Any) -> None:
        try:
            self._models.reconfigure(config)
        except StatusError:
            if (
                self._own_entry is None
            ):  # TensorFlow Serving leaves both steps to the writer of the config
                raise
            self._models.reconfigure(step_towards(self._config, config))
            self._models.reconfigure(config)

    def _poll_config(self) -> None:
        last_error = ""
        while not self._stop_polling.wait(self._config_poll_wait):
            try:
                config = self._read_config()
                if config != self._config:
                    # A refused config may be valid later, for example when the version of a label
                    # serves.
                    self._follow_config(config)
                    self._config = config
                last_error = ""
            except (InvalidModelConfig, StatusError) as error:
                if str(error) != last_error:
                    last_error = str(error)
                    reason = " ".join(last_error.split())
                    _logger.error(
                        "config_failed %s: %s",
                        self._config_file or self._model_name,
                        reason,
                        extra={
                            "event": "config_failed",
                            "model": "-",
                            "version": None,
                            "reason": reason,
                        },
                    )

    # Sockets

    def _listen(self) -> None:
        ready: Future[None] = Future()
        self._run_thread(self._run_loop, "serving-embedded-loop", ready)
        ready.result()

    def _run_loop(self, ready: "Future[None]") -> None:
        try:
            asyncio.run(self._serve(ready))
        except BaseException as error:
            if ready.done():
                _logger.exception("the server's loop ended by an error")
            else:
                ready.set_exception(error)

    async def _serve(self, ready: "Future[None]") -> None:
        with ExitStack() as threads:
            listeners: list[RestListener | GrpcListener] = []
            try:
                if self._rest_api_port != 0:
                    listeners.append(self._rest_listener(threads))
                if self._port != 0:
                    listeners.append(self._grpc_listener(threads))
                for listener in listeners:
                    await listener.start()
                ready.set_result(None)
                await asyncio.wrap_future(self._stop_listening)
            finally:
                await asyncio.gather(*(listener.stop(_GRACE) for listener in listeners))

    def _rest_listener(self, threads: ExitStack) -> RestListener:
        application = RestApplication(
            self._models,
            self._monitor,
            threads.enter_context(_pool("rest", _THREADS_PER_CPU * (cpu_count() or 1))),
            timeout=self._rest_timeout,
            limits=self._limits,
            metrics_page=self._metrics_page,
        )
        listening = bind_socket("rest_api_port", self._host, self._rest_api_port)
        self.rest_address = address_of(self._host, listening.getsockname()[1])
        most = connections(self._limits.rest_api_max_connections)
        return RestListener(application, listening, self._monitor, most)

    def _grpc_listener(self, threads: ExitStack) -> GrpcListener:
        listener = GrpcListener(
            self._host,
            self._port,
            self._credentials,
            self._models,
            self._monitor,
            threads.enter_context(_pool("grpc", _THREADS_PER_CPU * (cpu_count() or 1))),
            threads.enter_context(_pool("reloading", _RELOADING_THREADS)),
            max_connections=connections(self._limits.grpc_max_connections),
            has_health_service=self._has_health_service,
        )
        self.grpc_address = listener.address
        return listener


def _pool(use: str, threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix=f"serving-embedded-{use}")
