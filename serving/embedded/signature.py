"""A signature, prepared for requests."""

from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Signature:
    """A SignatureDef whose maps are read once, because each access to a map of a message is slow.

    Attributes:
        message: the SignatureDef.
        inputs, outputs: TensorInfos by name, in the order of the names.
        defaults: TensorProtos by the name of the input.
    """

    message: Any
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    defaults: dict[str, Any]

    @classmethod
    def of(cls, message: Any) -> Self:
        """Return the signature of a SignatureDef."""
        maps = (message.inputs, message.outputs, message.defaults)
        return cls(message, *(dict(sorted(each.items())) for each in maps))
