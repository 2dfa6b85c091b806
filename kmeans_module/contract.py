"""The served contract: inputs and outputs of every signature.

The single source of names, dtypes and shapes for the module, the server, the clients and the tests.
Does not import TensorFlow, so clients can use it.

In a shape, a letter is a dimension: ``n`` rows, ``d`` features, ``k`` clusters, ``b`` independent
problems. ``d`` is fixed in an exported model, the others are variable. Dimension 0 is the same in
every input and output of a signature, so a server can merge and split requests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

ASSIGN: Final = "assign"
SCORE: Final = "score"
TRANSFORM: Final = "transform"
DECODE: Final = "decode"
FIT_STEP: Final = "fit_step"
SERVING_DEFAULT: Final = "serving_default"
ASSIGN_COLUMNS: Final = "assign_columns"
SCORE_COLUMNS: Final = "score_columns"
TRANSFORM_COLUMNS: Final = "transform_columns"
CLASSIFY: Final = "classify"
REGRESS: Final = "regress"

#: The values ``cluster_index``, ``distance``, ``squared_distance`` and ``all_distances`` of a row
#: with NaN or infinity; its ``silhouette`` is 0. JSON has no NaN, and a bad row must not fail the
#: others.
BAD_ROW: Final = -1


@dataclass(frozen=True)
class TensorContract:
    """One named tensor of a signature.

    Attributes:
        name: the name of the tensor.
        dtype: "float32", "int32" or "string".
        shape: a letter or a number for each dimension.

    Example:
        >>> from tfkmeans import SIGNATURES
        >>> SIGNATURES["assign"].inputs[0]
        TensorContract(name='points', dtype='float32', shape=('n', 'd'))
    """

    name: str
    dtype: str
    shape: tuple[str, ...]


@dataclass(frozen=True)
class SignatureContract:
    """One signature: its inputs and outputs, in the order of the contract.

    Attributes:
        name: the name of the signature.
        inputs: the input tensors.
        outputs: the output tensors.

    Example:
        >>> from tfkmeans import SIGNATURES
        >>> [tensor.name for tensor in SIGNATURES["assign"].outputs]
        ['cluster_index', 'distance']
    """

    name: str
    inputs: tuple[TensorContract, ...]
    outputs: tuple[TensorContract, ...]


_POINTS = TensorContract("points", "float32", ("n", "d"))
_ASSIGN_OUTPUTS = (
    TensorContract("cluster_index", "int32", ("n",)),
    TensorContract("distance", "float32", ("n",)),
)


def _by_name(*signatures: SignatureContract) -> Mapping[str, SignatureContract]:
    return MappingProxyType({signature.name: signature for signature in signatures})


#: The signatures of an exported model over numbers, by name.
SIGNATURES: Final = _by_name(
    SignatureContract(SERVING_DEFAULT, (_POINTS,), _ASSIGN_OUTPUTS),
    SignatureContract(ASSIGN, (_POINTS,), _ASSIGN_OUTPUTS),
    SignatureContract(
        SCORE,
        (_POINTS,),
        (
            TensorContract("squared_distance", "float32", ("n",)),
            TensorContract("silhouette", "float32", ("n",)),
        ),
    ),
    SignatureContract(
        TRANSFORM, (_POINTS,), (TensorContract("all_distances", "float32", ("n", "k")),)
    ),
    SignatureContract(
        DECODE,
        (TensorContract("cluster_index", "int32", ("n",)),),
        (TensorContract("centroid", "float32", ("n", "d")),),
    ),
    SignatureContract(
        FIT_STEP,
        (
            TensorContract("points", "float32", ("b", "n", "d")),
            TensorContract("sample_weight", "float32", ("b", "n")),
            TensorContract("centroids", "float32", ("b", "k", "d")),
        ),
        (
            TensorContract("centroids", "float32", ("b", "k", "d")),
            TensorContract("counts", "float32", ("b", "k")),
            TensorContract("inertia", "float32", ("b",)),
            TensorContract("shift", "float32", ("b",)),
        ),
    ),
)

_EXAMPLES = TensorContract("inputs", "string", ("n",))

#: The signatures over serialized tf.Examples, by name, for TensorFlow Serving's Classify and
#: Regress, and for pipelines of tf.Examples. Older versions and models with more than
#: ``MOST_COLUMNS`` columns lack them. Each example has the features by name as floats; an example
#: with a missing feature or NaN is a bad row.
EXAMPLE_SIGNATURES: Final = _by_name(
    SignatureContract(
        CLASSIFY,
        (_EXAMPLES,),
        (
            # The cluster_index as text, and the distance.
            TensorContract("classes", "string", ("n", "1")),
            TensorContract("scores", "float32", ("n", "1")),
        ),
    ),
    SignatureContract(REGRESS, (_EXAMPLES,), (TensorContract("outputs", "float32", ("n",)),)),
)

#: The signatures over the columns of a table, with one input per column, and for each the signature
#: over points with the same outputs. A model with an encoder of at most `MOST_COLUMNS` columns has
#: them.
COLUMN_SIGNATURES: Final[Mapping[str, str]] = MappingProxyType(
    {ASSIGN_COLUMNS: ASSIGN, SCORE_COLUMNS: SCORE, TRANSFORM_COLUMNS: TRANSFORM}
)

#: The most columns for signatures with one input per column: with 10,000, an export would take a
#: minute longer.
MOST_COLUMNS: Final = 256


def column_input(place: int) -> str:
    """The name of the column at this index in the graph; TensorFlow does not accept every name."""
    return f"column_{place}"


def signatures_left_out(n_columns: int, *, by_name: bool) -> tuple[str, ...]:
    """Return the names of the signatures that a model with this number of columns lacks.

    ``by_name`` is true if the model takes columns by name.
    """
    if n_columns <= MOST_COLUMNS:
        return ()
    return (*EXAMPLE_SIGNATURES, *(COLUMN_SIGNATURES if by_name else ()))
