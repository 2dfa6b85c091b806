"""What of two answers must be the same."""

import json
import re
from typing import Any


def comparable(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what may differ, its body parsed.

    Numbers stay as they are written, objects lose the order of their names, and messages lose what
    TensorFlow adds of the graph and the mark that protobuf changes from process to process.
    """
    if isinstance(answer.get("message"), str):
        return {**answer, "message": _without_graph(answer["message"])}
    if not isinstance(answer.get("body"), str):
        return answer
    try:
        body = json.loads(answer["body"], parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError):
        return answer
    if isinstance(body, dict) and isinstance(body.get("error"), str):
        body["error"] = _without_graph(body["error"])
    return {**answer, "body": body}


def _without_graph(message: str) -> str:
    """An error message without the graph's trail and the names of its arguments."""
    message = re.sub(r"goo\.gle/debug\w+ +", "goo.gle/debug ", message)
    message = re.sub(r"\n\t \[\[.*", "", message, flags=re.DOTALL)
    return re.sub(r"tensor _arg_\w+", "tensor <argument>", message)
