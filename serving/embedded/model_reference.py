"""Which model, and which version of it, a request asks for."""

from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class ModelReference:
    """A model by name, and one of its versions by number or by label, or none: the latest.

    The names are those of a path as well, which may be no UTF-8: then they hold surrogate escapes,
    and so they are not kept in a ModelSpec.
    """

    name: str = ""
    version: int | None = None
    label: str | None = None

    @classmethod
    def of(cls, spec: Any) -> Self:
        """What a ModelSpec asks for."""
        match spec.WhichOneof("version_choice"):
            case "version":
                return cls(spec.name, version=spec.version.value)
            case "version_label":
                return cls(spec.name, label=spec.version_label)
        return cls(spec.name)
