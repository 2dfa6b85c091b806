"""Several workers find what one process finds; where one is missed, the others end and say so."""

import os
import random
import signal
import socket
from functools import partial
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import numpy as np
import pytest

from kmeans_module import InvalidParameter, KMeansError, Reducer, RowSource, connect_workers, fit
from kmeans_module.workers import ALONE

from .problems import blobs
from .worker_fits import (
    everything,
    fit_a_bad_row,
    fit_all,
    fit_and_wait_to_leave,
    fit_on_devices,
    fit_once,
    fit_part,
    fit_slowly,
    go_on,
    meet_when_told,
    publish_for_ever,
    read_whole,
    reduce_numbers,
    wait_after_an_iteration,
    wait_for_the_other,
    wait_for_the_other_and_be_interrupted,
)
from .worker_processes import Answer, Function, Job, config, wait_until_listens

pytestmark = pytest.mark.slow

SOAK: Final = os.environ.get("TFKMEANS_SOAK") == "1"
COUNTS: Final = (2, 3, 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoint")


@pytest.fixture(scope="module")
def answers(folder: Path) -> dict[int, list[Answer]]:
    """What two, three and four workers find, one job after the other with one checkpoint."""
    found = {}
    for count in COUNTS:
        with Job(count) as job:
            found[count] = job.run(*[partial(everything, str(folder))] * count)
    return found


@pytest.fixture(scope="module")
def results(answers: dict[int, list[Answer]]) -> dict[int, list[dict[str, Any]]]:
    for each in answers.values():
        assert [(answer.error, answer.message) for answer in each] == [("", "")] * len(each)
    return {count: [answer.result for answer in each] for count, each in answers.items()}


def test_any_number_of_workers_and_any_split_of_the_rows_end_in_the_same_bytes(
    results: dict[int, list[dict[str, Any]]],
) -> None:
    alone = fit_all(ALONE)
    for count in COUNTS:
        assert [each["fits"] for each in results[count]] == [alone] * count


def test_workers_take_their_steps_on_devices_to_the_same_bytes() -> None:
    with Job(2) as job:
        found = job.run(*[fit_on_devices] * 2)
    assert [(answer.error, answer.message) for answer in found] == [("", "")] * 2
    assert [answer.result for answer in found] == [fit_part("weighted", ALONE)] * 2


def test_a_fit_goes_on_with_another_number_of_workers(
    results: dict[int, list[dict[str, Any]]], folder: Path
) -> None:
    whole: list[int] = []
    expected = fit_part("weighted", ALONE, on_iteration=lambda now: whole.append(now.iteration))
    assert len(whole) > 7
    for first, count in zip((1, 3, 5), COUNTS, strict=True):
        assert [each["iterations"] for each in results[count]] == [[first, first + 1]] * count
    assert go_on(ALONE, str(folder), 1) == [7]
    assert fit_part("weighted", ALONE, checkpoint=str(folder)) == expected
    assert not list(folder.iterdir())


def test_workers_that_were_started_otherwise_are_told_apart(
    results: dict[int, list[dict[str, Any]]],
) -> None:
    for count in COUNTS:
        for each in results[count]:
            parameters, rows, checkpoint = each["differ"]
            assert "worker 1 (127.0.0.1:" in parameters
            assert "n_clusters is 7 there and 8 on worker 0 (127.0.0.1:" in parameters
            assert "tol is 0.5 there and 0.25 on worker 0" in parameters
            assert "features is 4 there and 3 on worker 0" in rows
            assert "dtype is <f8 there and <f4 on worker 0" in rows
            assert "checkpoint is True there and False on worker 0" in checkpoint


def test_a_reducer_brings_numbers_together_exactly(
    results: dict[int, list[dict[str, Any]]],
) -> None:
    for count in COUNTS:
        all_rows = [[me + 0.5] * 2 for me in range(count) for _ in range(me)]
        for each in results[count]:
            total, largest, rows, texts, said, nothing = each["numbers"]
            assert total == [[sum(range(count)), count * 2**60 + sum(range(count))]]
            assert largest[:2] == [count - 1, 0]
            assert np.isnan(largest[2])
            assert rows == all_rows
            assert texts == [b"a", b"ab", b"abc", b"abc"][:count]
            assert (said, nothing) == ("from 0", b"")
    assert reduce_numbers(ALONE)[0] == [[0, 2**60]]


def test_the_first_worker_reads_the_rows_of_all(
    results: dict[int, list[dict[str, Any]]],
) -> None:
    expected = read_whole(ALONE)
    for count in COUNTS:
        assert [each["whole"] for each in results[count]] == [expected, *[None] * (count - 1)]


#: What is done to a worker, and what the workers do meanwhile: that one, and the others.
STAGES: Final[dict[str, tuple[Function, Function]]] = {
    "pass": (fit_slowly, fit_slowly),
    "reduce": (wait_after_an_iteration, fit_once),
    "publish": (publish_for_ever, fit_and_wait_to_leave),
}
CASES: Final = [*product((signal.SIGKILL, signal.SIGSTOP), STAGES, (0, 1))]
#: All cases, or a part that is drawn with a seed: of each signal one.
DRAWN: Final = (
    CASES
    if SOAK
    else [
        random.Random(6 + number).choice([case for case in CASES if case[0] == number])
        for number in (signal.SIGKILL, signal.SIGSTOP)
    ]
)


@pytest.mark.parametrize(("number", "stage", "victim"), DRAWN)
def test_a_worker_that_is_killed_or_frozen_ends_the_others_with_its_name(
    number: signal.Signals, stage: str, victim: int
) -> None:
    theirs, others = STAGES[stage]
    with Job(3) as job:
        started = [job.start(each, theirs if each == victim else others) for each in range(3)]
        while started[victim].hear() not in ("reads", "waits"):
            pass
        os.kill(started[victim].process.pid, number)
        for each in started[:victim] + started[victim + 1 :]:
            answer = each.hear()
            while not isinstance(answer, Answer):
                answer = each.hear()
            assert answer.error == "WorkerLost"
            assert f"worker {victim} ({job.addresses[victim]})" in answer.message
            assert "start all workers again" in answer.message


def test_a_worker_that_is_interrupted_while_it_waits_ends_at_once_and_is_lost_to_the_others() -> (
    None
):
    with Job(2) as job:
        first, second = job.start(0, wait_for_the_other), job.start(1, meet_when_told)
        assert first.hear() == "waits"
        os.kill(first.process.pid, signal.SIGINT)
        # The other has not come, and comes while the process of the first lives on.
        assert first.hear().error == "KeyboardInterrupt"
        second.pipe.send("come")
        answer = second.hear()
        assert first.process.is_alive()
    assert answer.error == "WorkerLost"
    assert f"lost worker 0 ({job.addresses[0]})" in answer.message


def test_a_worker_is_interrupted_by_a_signal_that_does_not_wake_its_main_thread() -> None:
    with Job(2) as job:
        first, _ = job.start(0, wait_for_the_other_and_be_interrupted), job.start(1, meet_when_told)
        assert first.hear() == "waits"
        assert first.hear().error == "KeyboardInterrupt"


def test_a_worker_that_never_comes_is_named() -> None:
    with Job(2, start_timeout=1) as job:
        answer = job.start(0, fit_once).hear()
    assert answer.error == "WorkerAbsent"
    said = f"worker 1 ({job.addresses[1]}) did not connect within 1 s: nothing listens there"
    assert said in answer.message


def test_what_listens_at_the_address_of_a_worker_and_is_none_is_named() -> None:
    with Job(2, start_timeout=1) as job, socket.socket() as other:
        host, _, port = job.addresses[1].rpartition(":")
        other.bind((host, int(port)))
        other.listen()
        answer = job.start(0, fit_once).hear()
    assert answer.error == "WorkerAbsent"
    said = f"worker 1 ({job.addresses[1]}) did not connect within 1 s: the program"
    assert said in answer.message


def test_a_worker_that_is_killed_before_all_have_come_is_named() -> None:
    with Job(3, start_timeout=5) as job:
        waiting, other = job.start(0, fit_once), job.start(1, fit_once)
        wait_until_listens(job.addresses[0])
        wait_until_listens(job.addresses[1])
        other.kill()
        answer = waiting.hear()
    # Whether it was seen before, only that worker knows.
    assert answer.error in {"WorkerLost", "WorkerAbsent"}
    assert f"worker 1 ({job.addresses[1]})" in answer.message


def test_a_worker_whose_port_is_taken_says_so() -> None:
    with Job(2) as job, socket.socket() as taken:
        host, _, port = job.addresses[0].rpartition(":")
        taken.bind((host, int(port)))
        taken.listen()
        answer = job.start(0, fit_once).hear()
    assert answer.error == "InvalidCluster"
    said = f"worker 0 ({job.addresses[0]}) cannot listen at its address"
    assert said in answer.message
    assert "give a port of this machine that is free" in answer.message


def test_a_late_worker_is_waited_for_and_its_error_ends_the_others_with_its_line() -> None:
    with Job(2) as job:
        early = job.start(0, fit_a_bad_row)
        # It listens, and waits.
        wait_until_listens(job.addresses[0])
        late = job.start(1, fit_a_bad_row).hear()
        assert late.error == "NonFinitePoint"
        assert "points hold NaN in row 67, column 2" in late.message
        first = early.hear()
    assert first.error == "WorkerFailed"
    said = f"worker 1 ({job.addresses[1]}) ended by NonFinitePoint: points hold NaN in row 67"
    assert said in first.message


def test_one_worker_alone_is_a_process_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", config(["127.0.0.1:1"], 0))
    with connect_workers() as reducer:
        assert reducer is ALONE


def test_several_workers_fit_sources_alone() -> None:
    two = cast(Reducer, SimpleNamespace(worker=0, workers=2))
    with pytest.raises(InvalidParameter, match="points of this one are no RowSource; give RowSo"):
        fit(blobs(), 5, reducer=two)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "TF_CONFIG is not set; give"),
        ("{cluster", "is not JSON"),
        ("[1]", r"is \[1\], no object"),
        ("{}", "lacks 'cluster' or 'task'"),
        (config(["h:1"], 0, "ps"), 'a task of type "ps"; .* neither parameter servers nor'),
        (config(["h:1"], 0).replace('type": "worker', 'type": "evaluator'), '"evaluator"; a fit'),
        (config(["h:1", "h:1"], 0), "has h:1 twice; give each worker"),
        (config(["h"], 0), 'has the address "h", which is not host:port'),
        (config(["h:70000"], 0), "70000.* not host:port"),
        (config(["h:1", "h:2"], 2), "this is worker 2, and the cluster has 2 of type worker"),
        (config(["h:1", "h:2"], 0, "chief"), "more than one chief"),
        ('{"cluster": {"worker": "h:1"}, "task": {"type": "worker"}}', "no list of addresses"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused_with_a_line(
    text: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(KMeansError, match=said), connect_workers():
        pass


def test_rows_may_be_missing_on_a_worker_and_on_none_alone() -> None:
    with pytest.raises(KMeansError, match=r"the source has the shape \(0, 3\); give at least one"):
        fit(RowSource.without_rows(3), 2)
