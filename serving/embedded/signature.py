"""A signature as requests use it."""

from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Signature:
    """A SignatureDef, its maps read once: each look into a message's map makes it anew.

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
        """The signature of a SignatureDef."""
        maps = (message.inputs, message.outputs, message.defaults)
        return cls(message, *(dict(sorted(each.items())) for each in maps))
