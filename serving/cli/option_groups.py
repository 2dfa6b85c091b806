"""Options that go together as one parameter of a command: a dataclass, one field an option."""

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints


def flat_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command as typer takes it: with each field of its dataclasses as an option of its own.

    A parameter ``connection: ConnectionOptions = ConnectionOptions(timeout=1.0)`` stands for the
    options ``--timeout``, ``--header`` and so on, with the defaults of that instance. The fields
    are annotated as a command's parameters are, and their names are those of the options.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {}
    flat: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if not is_dataclass(kind):
            flat.append(parameter.replace(annotation=kind))
            continue
        groups[parameter.name] = kind
        of_fields = get_type_hints(kind, include_extras=True)
        flat += [
            parameter.replace(
                name=field.name,
                annotation=of_fields[field.name],
                default=getattr(parameter.default, field.name),
            )
            for field in fields(kind)
        ]

    def run(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{field.name: given.pop(field.name) for field in fields(kind)})
        command(**given)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    run.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    return run
