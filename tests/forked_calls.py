"""Calls in a fork of the process of the tests."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from kmeans_module import ForkedProcess


def refused_in_a_fork(call: Callable[[], Any]) -> str:
    """What ForkedProcess says where a fork of this process makes the call."""
    forking = multiprocessing.get_context("fork")
    receiver, sender = forking.Pipe(duplex=False)
    child = forking.Process(target=_call_and_tell, args=(call, sender), daemon=True)
    child.start()
    try:
        assert receiver.poll(60), "the call hangs"
        told: str = receiver.recv()
        return told
    finally:
        child.kill()
        child.join()


def _call_and_tell(call: Callable[[], Any], sender: Connection) -> None:
    try:
        sender.send(f"it answers {call()}")
    except ForkedProcess as error:
        sender.send(str(error))
