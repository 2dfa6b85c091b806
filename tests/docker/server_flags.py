"""What tensorflow_model_server takes of what docker/ tells it, by the kind of its value.

The names are those of tensorflow_serving/model_servers/main.cc.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

_NUMBER: Final = re.compile(r"\d+")
_SWITCH: Final = re.compile(r"true|false")
_PATH: Final = re.compile(r"/\S+")

_KINDS: Final[Mapping[str, re.Pattern[str]]] = {
    "allow_version_labels_for_unavailable_models": _SWITCH,
    "enable_batching": _SWITCH,
    "enable_per_model_batching_parameters": _SWITCH,
    "file_system_poll_wait_seconds": _NUMBER,
    "grpc_max_threads": _NUMBER,
    "load_retry_interval_micros": _NUMBER,
    "max_num_load_retries": _NUMBER,
    "model_config_file": _PATH,
    "model_config_file_poll_wait_seconds": _NUMBER,
    "monitoring_config_file": _PATH,
    "port": _NUMBER,
    "rest_api_port": _NUMBER,
    "ssl_config_file": _PATH,
}


def checked_flags(arguments: Sequence[str]) -> dict[str, str]:
    """The flags by name; each is known, has a value of its kind, and is given once."""
    flags: dict[str, str] = {}
    for argument in arguments:
        # Without --name=value the server takes the next argument for its own.
        assert argument.startswith("--"), argument
        name, equals, value = argument.removeprefix("--").partition("=")
        assert equals, argument
        assert name in _KINDS, f"{name} is no flag of the server"
        assert _KINDS[name].fullmatch(value), argument
        assert name not in flags, f"{name} is given twice"
        flags[name] = value
    return flags
