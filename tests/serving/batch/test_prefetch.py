"""Work ahead in threads: in order, bounded, and over when nobody wants it any more."""

import threading
import time
from collections.abc import Generator
from contextlib import closing

import pytest

from serving.batch.prefetch import map_in_order, prefetch


def counting(upto: int, made: list[int], ended: threading.Event) -> Generator[int]:
    try:
        for number in range(upto):
            made.append(number)
            yield number
    finally:
        ended.set()


def test_items_come_in_order_and_are_made_by_another_thread() -> None:
    threads = set()

    def items() -> Generator[int]:
        for number in range(100):
            threads.add(threading.current_thread())
            yield number

    assert list(prefetch(items(), 3)) == list(range(100))
    assert threads.isdisjoint({threading.main_thread()})


def test_no_more_is_made_than_is_wanted_and_who_stops_ends_the_maker() -> None:
    made: list[int] = []
    ended = threading.Event()
    items = prefetch(counting(10**9, made, ended), 4)
    with closing(items):
        assert [next(items) for _ in range(10)] == list(range(10))
    assert ended.is_set()
    # Those that were taken, those that lay ready, and the one in hand.
    assert len(made) <= 10 + 4 + 2


def test_what_the_maker_raises_is_raised_after_what_it_made() -> None:
    def items() -> Generator[int]:
        yield 1
        raise OSError("no more")

    found = []
    with pytest.raises(OSError, match="no more"):  # noqa: PT012 - what came before is the matter
        for item in prefetch(items(), 2):
            found.append(item)
    assert found == [1]


def test_a_function_is_asked_so_often_at_once_and_answers_stay_in_order() -> None:
    barrier = threading.Barrier(3, timeout=30)
    under_way = 0
    most = 0
    lock = threading.Lock()

    def slow(number: int) -> int:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        barrier.wait()
        with lock:
            under_way -= 1
        return number * number

    # Only if three are asked at once does the barrier let them go.
    assert list(map_in_order(slow, range(12), 3)) == [n * n for n in range(12)]
    assert most == 3


def test_a_failure_ends_the_rest() -> None:
    asked: list[int] = []

    def fail(number: int) -> int:
        asked.append(number)
        if number == 2:
            raise ValueError("two")
        return number

    with pytest.raises(ValueError, match="two"):
        list(map_in_order(fail, range(10**9), 2))
    assert len(asked) < 10


def test_what_the_items_raise_is_raised_after_the_answers_to_what_came_before() -> None:
    def items() -> Generator[int]:
        yield from range(5)
        raise OSError("no more")

    found = []
    with pytest.raises(OSError, match="no more"):  # noqa: PT012 - what came before is the matter
        for answer in map_in_order(lambda number: -number, items(), 2, 8):
            found.append(answer)
    assert found == [0, -1, -2, -3, -4]


def test_items_are_taken_and_answered_while_the_consumer_is_busy_and_no_more_than_wanted() -> None:
    answered = threading.Semaphore(0)
    made: list[int] = []
    ended = threading.Event()

    def answer(number: int) -> int:
        answered.release()
        return number

    answers = map_in_order(answer, counting(10**9, made, ended), 2, 3)
    with closing(answers):
        assert next(answers) == 0
        # The consumer asks for nothing; five more are wanted all the same.
        assert all(answered.acquire(timeout=30) for _ in range(1 + 5))
        assert len(made) <= 1 + 5 + 1


def test_fewer_items_may_wait_for_an_answer_than_answers_for_the_consumer() -> None:
    made: list[int] = []
    ended = threading.Event()
    may_answer = threading.Event()
    answered = threading.Semaphore(0)

    def answer(number: int) -> int:
        assert may_answer.wait(timeout=30)
        answered.release()
        return number

    answers = map_in_order(answer, counting(10**9, made, ended), 2, 8, 1)
    first = threading.Thread(target=lambda: next(answers))
    with closing(answers):
        first.start()
        # While none is answered, two are under way and one waits; another is not taken.
        reached = threading.Event()
        deadline = time.monotonic() + 30
        while len(made) < 3 and time.monotonic() < deadline:
            reached.wait(0.01)
        assert len(made) == 3
        may_answer.set()
        # Then as many answers wait for the consumer as may.
        assert all(answered.acquire(timeout=30) for _ in range(2 + 8))
        first.join(30)
    assert ended.is_set()


def test_who_stops_while_an_answer_is_under_way_need_not_wait_for_it() -> None:
    may_answer = threading.Event()
    answers = map_in_order(
        lambda number: number if number == 0 else may_answer.wait(30), range(10**9), 1, 4, 0
    )
    assert next(answers) == 0
    ended = threading.Thread(target=answers.close)
    ended.start()
    ended.join(20)
    is_over = not ended.is_alive()
    may_answer.set()
    assert is_over
