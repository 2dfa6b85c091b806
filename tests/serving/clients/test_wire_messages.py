"""Our messages and TensorFlow Serving's are the same on the wire, and live in one process."""

from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from tensorflow.core.framework import tensor_pb2 as tf_tensor_pb2
from tensorflow.core.framework import tensor_shape_pb2 as tf_tensor_shape_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    prediction_log_pb2,
    status_pb2,
)
from tensorflow_serving.config import (
    file_system_storage_path_source_pb2,
    model_server_config_pb2,
)

from export.wire import serving_pb2, tensor_pb2
from serving.clients.tensors import to_array

from ..fake_servers import to_tensor

_THEIRS = (
    tf_tensor_pb2,
    tf_tensor_shape_pb2,
    meta_graph_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    prediction_log_pb2,
    file_system_storage_path_source_pb2,
    model_server_config_pb2,
    status_pb2,
)
_OURS = [
    descriptor
    for module in (tensor_pb2, serving_pb2)
    for descriptor in module.DESCRIPTOR.message_types_by_name.values()
]


def theirs(name: str) -> type[Message]:
    """The official class of a name."""
    (found,) = {getattr(module, name) for module in _THEIRS if hasattr(module, name)}
    chosen: type[Message] = found
    return chosen


def filled(descriptor: Descriptor, choice: int) -> Message:
    """A message with every field set to something, and of each oneof the member ``choice``."""
    message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        group = field.containing_oneof
        if group is not None and group.fields[choice % len(group.fields)] is not field:
            continue
        if field.message_type and field.message_type.GetOptions().map_entry:
            _fill_map(getattr(message, field.name), field.message_type, choice)
        elif field.is_repeated:
            values = [_value(field, at, choice) for at in (1, 2)]
            getattr(message, field.name).extend(values)
        elif field.message_type:
            getattr(message, field.name).CopyFrom(_value(field, 1, choice))
        else:
            setattr(message, field.name, _value(field, 1, choice))
    return message


def _fill_map(entries: Any, entry: Descriptor, choice: int) -> None:
    value = entry.fields_by_name["value"]
    for key in ("a", "b"):
        if value.message_type:
            entries[key].CopyFrom(_value(value, 1, choice))
        else:
            entries[key] = _value(value, 1, choice)


def _value(field: FieldDescriptor, at: int, choice: int) -> Any:
    if field.message_type:
        if field.message_type.full_name.startswith("google.protobuf."):
            return _well_known(field.message_type)
        return filled(field.message_type, choice)
    if field.enum_type:
        return field.enum_type.values[at].number
    return {
        FieldDescriptor.CPPTYPE_STRING: (
            f"text {at}" if field.type == FieldDescriptor.TYPE_STRING else b"\x00\xff"
        ),
        FieldDescriptor.CPPTYPE_BOOL: True,
        FieldDescriptor.CPPTYPE_FLOAT: 1.5 * at,
        FieldDescriptor.CPPTYPE_DOUBLE: 2.5 * at,
        FieldDescriptor.CPPTYPE_INT32: at,
        FieldDescriptor.CPPTYPE_INT64: at << 40,
        FieldDescriptor.CPPTYPE_UINT32: at,
        FieldDescriptor.CPPTYPE_UINT64: at << 40,
    }[field.cpp_type]


def _well_known(descriptor: Descriptor) -> Message:
    message: Message = GetMessageClass(descriptor)()
    if descriptor.name == "Any":
        message.Pack(get_model_metadata_pb2.SignatureDefMap())  # type: ignore[attr-defined]
    else:
        message.value = 7  # type: ignore[attr-defined]
    return message


def as_dict(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, use_integers_for_enums=True
    )


@pytest.mark.parametrize("choice", [0, 1, 2])
@pytest.mark.parametrize("descriptor", _OURS, ids=lambda descriptor: descriptor.name)
def test_every_message_has_the_official_bytes_and_content(
    descriptor: Descriptor, choice: int
) -> None:
    ours = filled(descriptor, choice)
    sent = ours.SerializeToString(deterministic=True)
    assert sent or not descriptor.fields

    official = theirs(descriptor.name)()
    official.ParseFromString(sent)

    assert as_dict(official) == as_dict(ours)
    assert official.SerializeToString(deterministic=True) == sent
    back = GetMessageClass(descriptor)()
    back.ParseFromString(official.SerializeToString())
    assert back == ours


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "bool"])
@pytest.mark.parametrize("shape", [(), (0, 3), (1, 4), (5, 2)])
def test_tensorflow_reads_our_tensors_and_we_read_tensorflows(
    dtype: str, shape: tuple[int, ...]
) -> None:
    import tensorflow as tf

    array = np.random.default_rng(0).integers(0, 2, size=shape).astype(dtype)
    theirs_of_ours = tf_tensor_pb2.TensorProto.FromString(to_tensor(array).SerializeToString())
    np.testing.assert_array_equal(tf.make_ndarray(theirs_of_ours), array)

    one = True if dtype == "bool" else 1
    for tensor in (tf.make_tensor_proto(array), tf.make_tensor_proto(one, dtype, shape)):
        ours = tensor_pb2.TensorProto.FromString(tensor.SerializeToString())
        expected = tf.make_ndarray(tensor)
        np.testing.assert_array_equal(to_array(ours), expected)
        assert to_array(ours).dtype == expected.dtype


def test_the_enums_have_the_official_numbers() -> None:
    from tensorflow.core.framework import types_pb2

    official = dict(types_pb2.DataType.items())
    assert dict(tensor_pb2.DataType.items()).items() <= official.items()
    states = get_model_status_pb2.ModelVersionStatus.State
    assert dict(serving_pb2.ModelVersionStatus.State.items()) == dict(states.items())
