"""The model and the version that a request refers to."""

from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class ModelReference:
    """A model by name, and a version by number or label, or else the latest version.

    Names may come from a path that is not UTF-8; they then contain surrogate escapes, which a
    ModelSpec cannot contain.
    """

    name: str = ""
    version: int | None = None
    label: str | None = None

    @classmethod
    def of(cls, spec: Any) -> Self:
        """Return the reference of a ModelSpec."""
        match spec.WhichOneof("version_choice"):
            case "version":
                return cls(spec.name, version=spec.version.value)
            case "version_label":
                return cls(spec.name, label=spec.version_label)
        return cls(spec.name)
