"""Groups of options as one parameter of a command: a dataclass with one field per option."""

import copy
import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from typer.models import OptionInfo


def flat_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command for typer, with each field of its dataclasses as a separate option.

    A parameter ``connection: ConnectionOptions = ConnectionOptions(timeout=1.0)`` stands for the
    options ``--timeout``, ``--header`` and so on, with the defaults of that instance. The fields
    are annotated as a command's parameters are, and their names are those of the options. Where the
    class has a ``panel``, the help lists them under that name.
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
                annotation=_in_panel(of_fields[field.name], getattr(kind, "panel", None)),
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


def _in_panel(annotation: Any, panel: str | None) -> Any:
    """The annotation of an option, which the help lists under the panel unless it has one."""
    if get_origin(annotation) is not Annotated:
        return annotation
    kind, *notes = get_args(annotation)
    notes = [copy.copy(each) for each in notes]
    for each in notes:
        if isinstance(each, OptionInfo) and each.rich_help_panel is None:
            each.rich_help_panel = panel
    return Annotated[kind, *notes]
