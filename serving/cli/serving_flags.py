"""The unsupported flags of TensorFlow Serving, and the form of its switches.

A flag of TensorFlow Serving that would be ignored is refused.
"""

from dataclasses import fields
from typing import Any, Final, get_args, get_type_hints

from typer.core import TyperCommand

from .errors import UserMistake

_NOT_SERVED: Final = frozenset(
    {
        "batching-parameters-file",
        "enable-batching",
        "enable-forward-compatibility",
        "enable-per-model-batching-parameters",
        "enable-profiler",
        "enable-serialization-as-tensor-content",
        "enable-signature-method-name-check",
        "flush-filesystem-caches",
        "grpc-channel-arguments",
        "grpc-max-threads",
        "grpc-socket-path",
        "mixed-precision",
        "num-load-threads",
        "num-request-iterations-for-warmup",
        "num-tflite-interpreters-per-pool",
        "num-tflite-pools",
        "num-unload-threads",
        "per-process-gpu-memory-fraction",
        "platform-config-file",
        "prefer-tflite-model",
        "remove-unused-fields-from-bundle-metagraph",
        "rest-api-enable-cors-support",
        "rest-api-num-threads",
        "saved-model-tags",
        "skip-initialize-tpu",
        "tensorflow-inter-op-parallelism",
        "tensorflow-intra-op-parallelism",
        "tensorflow-session-config-file",
        "tensorflow-session-parallelism",
        "thread-pool-factory-config-file",
        "use-alwayson-profiler",
        "xla-cpu-compilation-enabled",
        "xla-gpu-compilation-enabled",
    }
)
_SWITCHES: Final = frozenset(
    {
        "allow-version-labels-for-unavailable-models",
        "enable-grpc-healthcheck-service",
        "enable-model-warmup",
    }
)


class ServeCommand(TyperCommand):
    """A command that refuses TensorFlow Serving's other flags by their names."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; raises UserMistake for a flag that is not served."""
        return super().parse_args(ctx, [_check_flag(argument) for argument in args])

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show the help, with the names of the flags whole: they are longer than any others."""
        from .help_names import fold_long_names

        fold_long_names()
        super().format_help(ctx, formatter)


def _check_flag(argument: str) -> str:
    if not argument.startswith("-"):
        return argument
    flag, equals, value = argument.partition("=")
    # TensorFlow Serving takes one dash or two.
    name = flag.lstrip("-").replace("_", "-")
    if name in _NOT_SERVED:
        raise UserMistake(
            f"{flag}: a flag of TensorFlow Serving that this server does not support; leave it "
            "out, or use TensorFlow Serving"
        )
    if name in _SWITCHES and equals and flag.startswith("--") and "_" not in flag:
        return _switch(argument, name, value)
    return argument


def _switch(argument: str, name: str, value: str) -> str:
    """A switch that is written with a value, as TensorFlow Serving has it."""
    match value.lower():
        case "true" | "1":
            return f"--{name}"
        case "false" | "0":
            return f"--no-{name}"
    raise UserMistake(f"{argument} is not valid; give true or false")


def describe_flags(flags: type[Any]) -> str:
    """The options of a dataclass for the end of a help text: each, and below it what it does."""
    lines = ["[bold]Flags of TensorFlow Serving[/bold]"]
    hints = get_type_hints(flags, include_extras=True)
    for field in fields(flags):
        option, name = get_args(hints[field.name])[1], field.name.replace("_", "-")
        if isinstance(field.default, bool):
            shown, default = f"--{name} or --no-{name}", option.show_default
        else:
            shown, default = f"--{name} {option.metavar or 'FILE'}", field.default
        ends = "" if default is None else f" \\[default: {default}]"
        lines.append(f"  [bold]{shown}[/bold]\n\n    {option.help}{ends}")
    return "\n\n".join(lines)
