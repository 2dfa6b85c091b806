"""Options for the device of a fit: the CPU, or devices such as GPUs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from serving.tables.messages import format_bytes

from .arguments import parse_size
from .errors import UserMistake
from .tensorflow_import import load_tensorflow


def _parse_device(text: object) -> str:
    from kmeans_module.device_names import parse_device
    from kmeans_module.errors import InvalidParameter

    try:
        return ",".join(parse_device(str(text)))
    except InvalidParameter as error:
        raise typer.BadParameter(str(error)) from None


@dataclass(frozen=True)
class DeviceOptions:
    """The devices, and the limit on their memory."""

    panel: ClassVar[str] = "Fit"

    device: Annotated[
        str,
        typer.Option(
            parser=_parse_device,
            metavar="DEVICE",
            help="Where the steps run: cpu; gpu, all GPUs that TensorFlow sees; or names, such "
            "as /GPU:1. auto is gpu if there is one and the fit is large enough, else cpu.",
        ),
    ] = "auto"
    device_memory: Annotated[
        int | None,
        typer.Option(
            parser=parse_size,
            metavar="SIZE",
            help="Memory to use on each device, such as 8GB; by default nine tenths of its free "
            "memory. Rows that do not fit are copied in blocks, in each iteration.",
        ),
    ] = None

    @contextmanager
    def explain_errors(self) -> Iterator[None]:
        """Check that the devices exist, and report refusals in terms of the options.

        Raises UserMistake.
        """
        if self.device == "cpu" and self.device_memory is not None:
            raise UserMistake(
                f"--device-memory {format_bytes(self.device_memory)}: conflicts with --device "
                "cpu; leave it out"
            )
        if self.device not in ("auto", "cpu"):
            load_tensorflow("train")
        from kmeans_module.errors import DeviceMemoryExhausted, InvalidParameter, NoSuchDevice

        try:
            if self.device not in ("auto", "cpu"):
                from kmeans_module.device_names import parse_device
                from kmeans_module.devices import find_devices

                find_devices(parse_device(self.device))
            yield
        except NoSuchDevice as error:
            raise UserMistake(
                f"--device {self.device}: not found; TensorFlow sees {error.there}; give one of "
                "these, or cpu"
            ) from None
        except DeviceMemoryExhausted as error:
            mend = "end other programs that use memory there"
            if error.bytes_of_block is None:
                given = self.device_memory
                size = (
                    "less than its free memory" if given is None else f"not {format_bytes(given)}"
                )
                mend = f"give --device-memory, {size}, to copy the rows in blocks"
            raise UserMistake(
                f"--device {self.device}: {error.fault.removeprefix('device ')}; {mend}, or give "
                "--device cpu"
            ) from None
        except InvalidParameter as error:
            if not str(error).startswith("device"):
                raise
            said = str(error).replace("device_memory", "--device-memory")
            raise UserMistake(said if said.startswith("--") else f"--{said}") from None
