"""Waits end by a signal that does not wake the main thread, and else when they should."""

import time
from concurrent.futures import Future
from threading import Timer

import pytest

from kmeans_module.signal_waits import SIGNAL_INTERVAL, result_of, sleep, wait_for_first
from tests.interrupts import interrupt_unnoticed


@pytest.mark.timeout(60)
def test_a_signal_that_does_not_wake_the_main_thread_ends_a_sleep() -> None:
    with pytest.raises(KeyboardInterrupt), interrupt_unnoticed():
        sleep(3600)


@pytest.mark.timeout(60)
def test_a_signal_that_does_not_wake_the_main_thread_ends_the_wait_for_a_future() -> None:
    with pytest.raises(KeyboardInterrupt), interrupt_unnoticed():
        result_of(Future[None]())


def test_a_sleep_is_as_long_as_it_should_be() -> None:
    seconds = 1.2 * SIGNAL_INTERVAL
    began = time.monotonic()
    sleep(seconds)
    assert time.monotonic() - began >= seconds


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_no_sleep_is_of_less_than_nothing(seconds: float) -> None:
    with pytest.raises(ValueError, match="give 0 or more"):
        sleep(seconds)


def test_a_future_gives_its_result_or_its_exception_also_after_several_intervals() -> None:
    done, failed = Future[int](), Future[int]()
    timer = Timer(1.2 * SIGNAL_INTERVAL, done.set_result, [7])
    timer.start()
    assert result_of(done) == 7
    timer.join()
    failed.set_exception(TimeoutError("of the function"))
    with pytest.raises(TimeoutError, match="of the function"):
        result_of(failed)


@pytest.mark.parametrize("seconds", [0.0, 1.2 * SIGNAL_INTERVAL])
def test_the_first_of_several_futures_is_waited_for_as_long_as_it_should_be(seconds: float) -> None:
    done, never = Future[None](), Future[None]()
    began = time.monotonic()
    assert wait_for_first({done, never}, seconds) == set()
    assert time.monotonic() - began >= seconds
    done.set_result(None)
    assert wait_for_first({done, never}, 3600) == {done}
