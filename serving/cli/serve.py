"""``tfkmeans serve``: the embedded server, with the flags of TensorFlow Serving."""

import gc
import os
import signal
import socket
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, ClassVar, Final, Literal, NoReturn

import typer

from export.addresses import is_address, model_name
from export.errors import InvalidModelsConfig
from export.models_config import ModelsConfig, path_of
from serving.embedded.option_ranges import MAX_COUNT, MAX_LARGE

from .arguments import AddressOrPlace, amount, examples, integer
from .errors import UserMistake
from .exit_codes import DONE
from .extras import needs_extra
from .log_lines import log_to_stderr
from .option_groups import flat_options
from .serving_flags import describe_flags
from .tensorflow_import import load_tensorflow
from .terminal import note, print_json, progress

Port = int | Literal["auto"]
#: A request of a thousand rows makes thousands of lists, none of which is in a cycle.
_ALLOCATIONS_BETWEEN_COLLECTIONS: Final = 50_000


def _port(option: str, text: str) -> Port:
    if text == "auto":
        return "auto"
    if text.isascii() and text.isdigit() and int(text) <= 65535:
        return int(text)
    raise UserMistake(f"{option} {text!r}: is not a port; give 1 to 65535, 0 for off, or auto")


@dataclass(frozen=True)
class ServerFlags:
    """The flags of TensorFlow Serving, with the names of ``EmbeddedServer``'s arguments.

    The table of options would cut long names: `describe_flags` lists them below it.
    """

    allow_version_labels_for_unavailable_models: Annotated[
        bool,
        typer.Option(
            hidden=True,
            help="Allow a new label on a version that is not loaded.",
            show_default="off",
        ),
    ] = False
    file_system_poll_wait_seconds: Annotated[
        float,
        typer.Option(
            hidden=True,
            parser=amount(MAX_COUNT),
            metavar="X",
            help="Seconds between checks for new versions; 0 checks once.",
        ),
    ] = 1.0
    model_config_file_poll_wait_seconds: Annotated[
        float,
        typer.Option(
            hidden=True,
            parser=amount(MAX_COUNT),
            metavar="X",
            help="Seconds between checks for a new config file; 0 checks once.",
        ),
    ] = 0.0
    max_num_load_retries: Annotated[
        int,
        typer.Option(
            hidden=True,
            parser=integer(0, MAX_COUNT),
            metavar="N",
            help="Number of retries of a version that does not load.",
        ),
    ] = 5
    load_retry_interval_micros: Annotated[
        int,
        typer.Option(
            hidden=True,
            parser=integer(0, MAX_LARGE),
            metavar="N",
            help="Microseconds between retries.",
        ),
    ] = 60_000_000
    enable_model_warmup: Annotated[
        bool,
        typer.Option(
            hidden=True,
            help="Replay the warm-up requests of a version before it serves.",
            show_default="on",
        ),
    ] = True
    rest_api_timeout_in_ms: Annotated[
        int,
        typer.Option(
            hidden=True,
            parser=integer(0, MAX_COUNT),
            metavar="N",
            help="Time limit of a REST request in milliseconds; 0 is none.",
        ),
    ] = 30_000
    ssl_config_file: Annotated[
        Path | None, typer.Option(hidden=True, help="SSLConfig as text: TLS for gRPC.")
    ] = None
    monitoring_config_file: Annotated[
        Path | None,
        typer.Option(hidden=True, help="MonitoringConfig as text: enables the metrics."),
    ] = None
    enable_grpc_healthcheck_service: Annotated[
        bool,
        typer.Option(
            hidden=True, help="Answer health checks over gRPC: grpc.health.v1.", show_default="off"
        ),
    ] = False


@dataclass(frozen=True)
class LimitFlags:
    """The fields of ``ServerLimits``, which TensorFlow Serving does not have."""

    panel: ClassVar[str] = "Limits"

    rest_api_max_connections: Annotated[
        int,
        typer.Option(
            parser=integer(0, MAX_COUNT),
            metavar="N",
            help="Maximum of REST connections; 0 is a third of the file descriptors.",
        ),
    ] = 0
    grpc_max_connections: Annotated[
        int,
        typer.Option(
            parser=integer(0, MAX_COUNT),
            metavar="N",
            help="Maximum of gRPC connections; 0 is a third of the file descriptors.",
        ),
    ] = 0
    rest_api_max_body_bytes: Annotated[
        int,
        typer.Option(
            parser=integer(1, MAX_LARGE), metavar="N", help="Maximum bytes of a REST body as sent."
        ),
    ] = 256 * 2**20
    rest_api_max_inflated_bytes: Annotated[
        int,
        typer.Option(
            parser=integer(1, MAX_LARGE),
            metavar="N",
            help="Maximum bytes of an inflated gzip body.",
        ),
    ] = 16 * 2**20
    rest_api_max_nested_bytes: Annotated[
        int,
        typer.Option(
            parser=integer(1, MAX_LARGE),
            metavar="N",
            help="Maximum bytes of JSON nested more than 16 levels deep.",
        ),
    ] = 2**20
    max_unknown_models_in_metrics: Annotated[
        int,
        typer.Option(
            parser=integer(0, MAX_COUNT),
            metavar="N",
            help="Maximum of models that are not served but have their own metrics.",
        ),
    ] = 100
    max_log_text_characters: Annotated[
        int,
        typer.Option(
            parser=integer(1, MAX_COUNT),
            metavar="N",
            help="Maximum characters of a reason or a name in the log.",
        ),
    ] = 1000


EXAMPLES: Final = "\n\n".join(
    [
        examples(
            (
                "One model, over gRPC and REST",
                "tfkmeans serve models/customers --rest-api-port 8501",
            ),
            (
                "The models and versions of a config file, on free ports",
                "tfkmeans serve --model-config-file models/models.config --port auto"
                " --rest-api-port auto",
            ),
        ),
        describe_flags(ServerFlags),
    ]
)


@flat_options
def serve(
    place: Annotated[
        str | None,
        typer.Argument(
            metavar="BASE",
            help="Folder of one model, served with its versions and labels in the models.config "
            "next to it; or an address (gs://…), to serve the highest version.",
        ),
    ] = None,
    model: AddressOrPlace = None,
    port: Annotated[
        str, typer.Option(metavar="PORT", help="gRPC port; 0 is off, auto selects a free port.")
    ] = "8500",
    rest_api_port: Annotated[
        str, typer.Option(metavar="PORT", help="REST port; 0 is off, auto selects a free port.")
    ] = "0",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    name: Annotated[
        str | None, typer.Option("--model-name", "--name", help="Served name of the model.")
    ] = None,
    base_path: Annotated[
        str | None,
        typer.Option(
            "--model-base-path",
            metavar="BASE",
            help="Folder of the model, as in TensorFlow Serving: serves its highest version.",
        ),
    ] = None,
    config_file: Annotated[
        Path | None,
        typer.Option("--model-config-file", help="ModelServerConfig as text: several models."),
    ] = None,
    flags: ServerFlags = ServerFlags(),
    limits: LimitFlags = LimitFlags(),
    json: Annotated[
        bool, typer.Option("--json", help="Write the log and the addresses as JSON.")
    ] = False,
) -> None:
    """Serve a model with TensorFlow Serving's protocol until Ctrl-C or SIGTERM.

    The server loads the versions of BASE's entry in models.config, or without an entry the highest
    version. It checks the file as often as the folder, and follows label moves. It prints its
    addresses when all models are loaded. Each load, unload and failed request is one log line on
    stderr; as JSON with --json.
    """
    base, served_as = _one_model(place, model, base_path, name, config_file)
    options = asdict(flags)
    if base is not None and base_path is None and not is_address(base):
        served_as = _name_of_entry(Path(base), name)
        options["entry_config_file"] = path_of(Path(base))
        options["allow_version_labels_for_unavailable_models"] = True
    # Raised wherever it arrives, so that a server that is still starting ends as well.
    signal.signal(signal.SIGTERM, _exit_on_sigterm)
    with ExitStack() as stack:
        with progress("starting") as tell:
            tell("loading TensorFlow")
            load_tensorflow("serve")
            with needs_extra("serve"):
                from serving.embedded import EmbeddedServer, ServerLimits
            _spare_what_stays()
            server = EmbeddedServer(
                model_name=served_as,
                model_base_path=base,
                model_config_file=config_file,
                host=host,
                port=_port("--port", port),
                rest_api_port=_port("--rest-api-port", rest_api_port),
                limits=ServerLimits(**asdict(limits)),
                **options,
            )
            tell("loading the models")
            stack.enter_context(log_to_stderr(as_json=json))
            stack.enter_context(server)
        what = f"{served_as} from {base}" if config_file is None else f"the models of {config_file}"
        if not json:
            note(f"serving {what}; stop with Ctrl-C")
        _show(server.grpc_address, server.rest_address, as_json=json)
        _wait_for_a_signal()


def _spare_what_stays() -> None:
    """Exclude imported objects, which live as long as the process, from garbage collection.

    TensorFlow has hundreds of thousands of objects. To look through them takes half a second, and
    the lists of a few hundred requests are enough to make it happen.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS_BETWEEN_COLLECTIONS)


def _one_model(
    place: str | None,
    model: str | None,
    base_path: str | None,
    name: str | None,
    config_file: Path | None,
) -> tuple[str | None, str | None]:
    """Folder and name of the one model to serve; neither with a config file."""
    given = [path for path in (place, model, base_path) if path is not None]
    if config_file is not None:
        if given or name is not None:
            raise UserMistake(
                f"--model-config-file {config_file}: already names its models; give either it or "
                "one model"
            )
        return None, None
    if not given:
        raise UserMistake("specify BASE, the folder of the model, or --model-config-file")
    if len(given) > 1:
        raise UserMistake(f"the model is given twice, as {given[0]} and {given[1]}; give it once")
    # A base path without a name is called so by TensorFlow Serving.
    default = "default" if base_path is not None else model_name(given[0])
    return given[0], name or default


def _name_of_entry(base: Path, name: str | None) -> str:
    """The name that BASE is served under: that of its entry, so that a move reaches it.

    Raises UserMistake, InvalidModelsConfig.
    """
    otherwise = f"--model-base-path {base} serves its highest version in any case"
    try:
        served_as = ModelsConfig.read(base, name).model
    except InvalidModelsConfig as error:
        raise InvalidModelsConfig(f"{error}; {otherwise}") from error
    if name not in (None, served_as):
        raise UserMistake(
            f"--model-name {name}: the entry of {base} in {path_of(base)} is {served_as}; leave "
            f"the name out, or: {otherwise}"
        )
    return served_as


def _show(grpc_address: str | None, rest_address: str | None, *, as_json: bool) -> None:
    try:
        if as_json:
            print_json({"grpc_address": grpc_address, "rest_address": rest_address})
        else:
            typer.echo(f"gRPC  {grpc_address or 'off'}")
            typer.echo(f"REST  {f'http://{rest_address}' if rest_address else 'off'}")
        # Whoever started this may be reading a pipe, to learn the ports.
        sys.stdout.flush()
    except OSError as error:  # a pipe that nobody reads any more is no reason not to serve
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        note(f"warning: the addresses cannot be printed: {error.strerror}")


def _wait_for_a_signal() -> None:
    """Wait until the handler of a signal raises.

    The kernel may hand a signal to any thread, TensorFlow's included, and Python's handler runs in
    the main thread only, which a lock or an event would not wake for it: a byte does.
    """
    woken, waking = socket.socketpair()
    with woken, waking:
        waking.setblocking(False)
        before = signal.set_wakeup_fd(waking.fileno())
        try:
            while True:
                woken.recv(1)
        finally:
            signal.set_wakeup_fd(before)


def _exit_on_sigterm(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(DONE)
