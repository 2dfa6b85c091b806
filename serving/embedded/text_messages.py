"""Option files: one protobuf message each, in text format."""

from pathlib import Path
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from serving.embedded.errors import ServerStartError

M = TypeVar("M", bound=Message)


def read_text_message(what: str, path: Path, message: M, refusal: type[ServerStartError]) -> M:
    """Read a file into ``message``, and give it.

    Args:
        what: the file's name among the options, as in ``"model config file"``.
        path: the file.
        message: an empty message of the kind that the file holds.
        refusal: the error to raise.

    Raises:
        ServerStartError: a ``refusal``; the file cannot be read, or is no such message.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise refusal(f"{what} {path} does not exist; name a file that does") from None
    except (OSError, UnicodeDecodeError) as error:
        raise refusal(f"{what} {path} can't be read: {error}") from error
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise refusal(
            f"Error parsing text-format {message.DESCRIPTOR.full_name}: {path}:{error}; "
            "mend the file there"
        ) from error
    return message
