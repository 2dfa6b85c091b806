"""A version that would not load, or would answer otherwise, is refused before anyone sees it."""

import dataclasses
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from export import (
    GoldenRequest,
    ModelCard,
    PublishRefused,
    ValidationTimedOut,
    golden_requests,
    make_card,
    replay,
    validate,
    warmup,
    write_candidate,
)
from export.model_card import CARD_FILE
from export.replay import collect_findings
from export.warmup import WARMUP_FILE
from export.wire import serving_pb2
from kmeans_module import KMeansModule, fit

from .conftest import FEATURE_NAMES


@pytest.fixture(scope="module")
def validation_in_process() -> None:
    """Not here: these tests start the process that validates."""


pytestmark = pytest.mark.slow


def _change_a_golden_answer(version: Path) -> None:
    requests = golden_requests.read(version)
    changed = next(request for request in requests if request.signature == "transform")
    many = max(
        (request for request in requests if request.signature == changed.signature),
        key=lambda request: len(request.outputs["all_distances"]),
    )
    distances = many.outputs["all_distances"]
    distances[3, 1] = np.nextafter(distances[3, 1], np.float32(np.inf))
    golden_requests.write(version, requests)


def _cut(version: Path, name: str, count: int) -> None:
    path = version / name
    path.write_bytes(path.read_bytes()[:-count])


def _flip(version: Path, name: str, position: int) -> None:
    content = bytearray((version / name).read_bytes())
    content[position] ^= 1
    (version / name).write_bytes(content)


def test_a_sound_candidate_passes_whatever_lies_where_the_caller_stands(
    candidate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for decoy in ("export", "tensorflow", "json"):
        (tmp_path / f"{decoy}.py").write_text("raise SystemExit('decoy')")
    monkeypatch.chdir(tmp_path)
    validate(Path(os.path.relpath(candidate)))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        # One bit of one number.
        (_change_a_golden_answer, r"all_distances differs .* in 1 of \d+ values, by up to \d"),
        (lambda version: _cut(version, str(WARMUP_FILE), 10), "in a session: DataLossError"),
        (
            lambda version: _cut(version, "variables/variables.data-00000-of-00001", 200),
            "reloaded: ",
        ),
    ],
    ids=["golden answer", "warm-up", "variables"],
)
def test_a_spoilt_candidate_is_refused_in_one_line_with_the_figures(
    spoilable: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(spoilable)
    with pytest.raises(PublishRefused, match=message) as refused:
        validate(spoilable, name="the candidate")
    assert str(refused.value).startswith("the candidate: refused: ")
    assert "\n" not in str(refused.value)


def _remove(version: Path, name: str) -> None:
    (version / name).unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda version: _flip(version, "variables/variables.data-00000-of-00001", 20),
            "DataLossError",
        ),
        (lambda version: _flip(version, "variables/variables.index", 40), "DataLossError"),
        (lambda version: _flip(version, str(WARMUP_FILE), 100), "DataLossError"),
        (lambda version: _cut(version, "saved_model.pb", 1000), "reloaded: OSError"),
        (lambda version: _remove(version, "variables/variables.index"), "reloaded: "),
        (lambda version: _remove(version, "saved_model.pb"), "reloaded: OSError"),
        (lambda version: _remove(version, str(WARMUP_FILE)), "NotFoundError"),
        (lambda version: (version / WARMUP_FILE).write_bytes(b""), "warm-up has no record"),
        (lambda version: _remove(version, str(golden_requests.GOLDEN_FILE)), "no golden requests"),
        (lambda version: _remove(version, str(CARD_FILE)), "no model card"),
    ],
)
def test_a_missing_or_flipped_part_is_found(
    spoilable: Path, spoil: Callable[[Path], Any], message: str
) -> None:
    spoil(spoilable)
    found = collect_findings(spoilable)
    assert message in "; ".join(found)
    assert not any("\n" in line for line in found)


def test_a_card_of_another_width_is_found(spoilable: Path, card: ModelCard) -> None:
    dataclasses.replace(card, n_features=7, n_clusters=9).write(spoilable)
    found = "; ".join(collect_findings(spoilable))
    assert "assign: points is (None, 3), the card and the contract say (n, 7)" in found
    assert "transform: all_distances is (None, 4), the card and the contract say (n, 9)" in found


def test_a_model_without_one_of_the_signatures_is_found(
    tmp_path: Path, points: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = fit(points, 4)
    whole = result.module.signatures
    card = make_card(result, points, feature_names=FEATURE_NAMES, model="blobs")
    write_candidate(tmp_path / "candidate", result, card, points)
    monkeypatch.setattr(
        KMeansModule, "signatures", {key: whole[key] for key in whole if key != "score"}
    )
    tf.saved_model.save(
        result.module, str(tmp_path / "candidate"), signatures=result.module.signatures
    )
    found = "; ".join(collect_findings(tmp_path / "candidate"))
    assert "the model has no such signature" in found
    assert "signatures are ['assign', 'decode'" in found
    assert "warm-up record 3: the model has no signature 'score'" in found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda request: request.inputs.pop("points"), "inputs are []"),
        (lambda request: request.inputs["points"].tensor_shape.dim.pop(), "record 4: ValueError"),
        (lambda request: setattr(request.model_spec, "signature_name", "gone"), "'gone'"),
    ],
)
def test_a_warmup_record_that_a_server_would_fail_on_is_found(
    spoilable: Path, change: Callable[[Any], Any], message: str
) -> None:
    records = list(warmup.read(spoilable))
    change(records[4].predict_log.request)
    _write_warmup(spoilable, records)
    assert message in "; ".join(collect_findings(spoilable))


def test_more_warmup_records_than_a_server_takes_are_found(spoilable: Path) -> None:
    _write_warmup(spoilable, [next(warmup.read(spoilable))] * (warmup.MOST_RECORDS + 1))
    assert "more than 1000 records" in "; ".join(collect_findings(spoilable))


def _write_warmup(version: Path, records: list[serving_pb2.PredictionLog]) -> None:
    with tf.io.TFRecordWriter(str(version / WARMUP_FILE)) as file:
        for record in records:
            file.write(record.SerializeToString())


def test_a_golden_answer_of_another_shape_or_name_or_dtype_is_found(spoilable: Path) -> None:
    indices = {"cluster_index": np.array([0, 1], np.int32)}
    centroid = np.zeros((2, 3), np.float32)
    golden_requests.write(
        spoilable,
        [
            GoldenRequest("decode", indices, {"centroid": centroid[:1]}),
            GoldenRequest("decode", indices, {"center": centroid}),
            GoldenRequest("decode", indices, {"centroid": centroid.astype(np.float64)}),
            GoldenRequest("predict", indices, {"centroid": centroid}),
        ],
    )
    now = "centroid is float32 [2, 3], recorded was"
    assert collect_findings(spoilable) == [
        f"reloaded: golden request 0 (decode): {now} float32 [1, 3]",
        "reloaded: golden request 1 (decode): outputs are ['centroid'], recorded were ['center']",
        f"reloaded: golden request 2 (decode): {now} float64 [2, 3]",
        "reloaded: golden request 3 (predict): the model has no such signature",
    ]


def test_a_validation_that_does_not_end_has_an_error_of_its_own(candidate: Path) -> None:
    with pytest.raises(ValidationTimedOut, match=r"did not end within 0\.01 s"):
        validate(candidate, timeout=0.01)


def test_a_loader_that_crashes_is_a_refusal_with_its_last_words(
    candidate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashing = tmp_path / "python"
    crashing.write_text("#!/bin/sh\necho 'the last words' >&2\nkill -9 $$\n")
    crashing.chmod(crashing.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(crashing))
    with pytest.raises(PublishRefused, match="failed with exit code -9: the last words"):
        validate(candidate)


@pytest.mark.parametrize(("differs", "found"), [([True], False), ([True, False], True)])
def test_an_answer_is_refused_if_it_differs_with_the_graph_optimizer_too(
    differs: list[bool], found: bool, candidate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = tf.config.optimizer.get_experimental_options

    def answer_otherwise(*_: object) -> Iterator[str]:
        if options().get("disable_meta_optimizer", False) in differs:
            yield "differs"

    before = options()
    monkeypatch.setattr(replay, "_replay_golden_request", answer_otherwise)
    assert any(line.endswith(": differs") for line in collect_findings(candidate)) == found
    assert options().get("disable_meta_optimizer", False) is False
    assert options().items() >= before.items()
