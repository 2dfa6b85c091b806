"""The messages of ``--monitoring-config-file`` and ``--ssl-config-file``.

TF Serving's Python package has their users, but not them. They are described here rather than in a
``.proto`` file because only their text format is ever read.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
# A pool of its own: a TF Serving package that has these messages may be loaded beside.
_pool = descriptor_pool.DescriptorPool()
_PACKAGE = "tensorflow.serving"


def _message(name: str, **fields: int | str) -> descriptor_pb2.DescriptorProto:
    """A message whose fields are numbered in their order; a type given by name is a message."""
    described = descriptor_pb2.DescriptorProto(name=name)
    for number, (field, kind) in enumerate(fields.items(), start=1):
        added = described.field.add(name=field, number=number, label=_Field.LABEL_OPTIONAL)
        if isinstance(kind, str):
            added.type = _Field.TYPE_MESSAGE
            added.type_name = f".{_PACKAGE}.{kind}"
        else:
            added.type = kind  # type: ignore[assignment]  # one of the enum's numbers
    return described


_pool.Add(
    descriptor_pb2.FileDescriptorProto(
        name="serving/embedded/option_messages.proto",
        package=_PACKAGE,
        syntax="proto3",
        message_type=[
            _message("PrometheusConfig", enable=_Field.TYPE_BOOL, path=_Field.TYPE_STRING),
            _message("MonitoringConfig", prometheus_config="PrometheusConfig"),
            _message(
                "SSLConfig",
                server_key=_Field.TYPE_STRING,
                server_cert=_Field.TYPE_STRING,
                custom_ca=_Field.TYPE_STRING,
                client_verify=_Field.TYPE_BOOL,
            ),
        ],
    )
)


def _class(name: str) -> Any:
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


MonitoringConfig: Any = _class("MonitoringConfig")
SSLConfig: Any = _class("SSLConfig")
