"""Option files: each is one protobuf message in text format.

TF Serving's Python package does not contain ``MonitoringConfig`` and ``SSLConfig``.
"""

from pathlib import Path
from typing import Any, TypeVar

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import Message

from serving.embedded.errors import ServerStartError

M = TypeVar("M", bound=Message)

_FILE = """
name: "serving/embedded/option_messages.proto" package: "tensorflow.serving" syntax: "proto3"
message_type {
  name: "PrometheusConfig"
  field { name: "enable" number: 1 type: TYPE_BOOL }
  field { name: "path" number: 2 type: TYPE_STRING }
}
message_type {
  name: "MonitoringConfig"
  field { name: "prometheus_config" number: 1 type: TYPE_MESSAGE type_name: "PrometheusConfig" }
}
message_type {
  name: "SSLConfig"
  field { name: "server_key" number: 1 type: TYPE_STRING }
  field { name: "server_cert" number: 2 type: TYPE_STRING }
  field { name: "custom_ca" number: 3 type: TYPE_STRING }
  field { name: "client_verify" number: 4 type: TYPE_BOOL }
}
"""
# A separate pool, because a TF Serving package with these messages may be loaded too.
_pool = descriptor_pool.DescriptorPool()
_pool.Add(text_format.Parse(_FILE, descriptor_pb2.FileDescriptorProto()))
_messages = message_factory.GetMessageClassesForFiles(
    ["serving/embedded/option_messages.proto"], _pool
)
MonitoringConfig: Any = _messages["tensorflow.serving.MonitoringConfig"]
SSLConfig: Any = _messages["tensorflow.serving.SSLConfig"]


def read_text_message(what: str, path: Path, message: M, refusal: type[ServerStartError]) -> M:
    """Read a file into ``message``, and return the message.

    Args:
        what: the name of the option, such as ``"model config file"``.
        path: the file.
        message: an empty message of the type of the file.
        refusal: the error to raise.

    Raises:
        ServerStartError: a ``refusal``; the file cannot be read, or is not such a message.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise refusal(f"{what} {path} does not exist; name a file that does") from None
    except (OSError, UnicodeDecodeError) as error:
        raise refusal(f"{what} {path} can't be read: {error}") from error
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise refusal(
            f"Error parsing text-format {message.DESCRIPTOR.full_name}: {path}:{error}; "
            "correct the file there"
        ) from error
    except RecursionError:
        raise refusal(f"{what} {path} is nested too deeply; correct the file") from None
    return message
