"""Bodies of classify and regress become tf.Examples."""

import pytest

from serving.embedded.json_examples import read_examples_body
from serving.embedded.json_parser import read_json
from serving.embedded.status import StatusError


@pytest.mark.parametrize(
    ("text", "value"), [(b"1e-40", 0.0), (b"1.5", 1.5), (b"1e39", float("inf"))]
)
def test_a_float_becomes_one_of_32_bits_without_subnormals(text: bytes, value: float) -> None:
    message = read_examples_body(read_json(b'{"examples": [{"a": %s}]}' % text))
    (example,) = message.example_list.examples
    assert list(example.features.feature["a"].float_list.value) == [value]


def test_an_integer_beyond_int64_is_refused() -> None:
    with pytest.raises(StatusError, match=r"Feature: a has uint64_t element\. Only int64_t is"):
        read_examples_body(read_json(b'{"examples": [{"a": 9223372036854775808}]}'))
