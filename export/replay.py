"""Load a version like a server, and replay its recorded requests.

Faults are returned as findings, not raised: a finding is one line with its figures. With a live
version, the differences of the two are measured too. ``export.validation`` runs this in a separate
process.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from export.wire import serving_pb2
from kmeans_module.columns import Column
from kmeans_module.contract import (
    ASSIGN,
    ASSIGN_COLUMNS,
    CLASSIFY,
    COLUMN_SIGNATURES,
    DECODE,
    EXAMPLE_SIGNATURES,
    FIT_STEP,
    REGRESS,
    SERVING_DEFAULT,
    SIGNATURES,
    TensorContract,
    column_input,
)
from kmeans_module.quiet_tensorflow import tf

from . import common_rows, comparison, golden_requests, warmup
from .common_rows import CommonRows, NoRowsTravel
from .errors import InvalidCandidate
from .golden_requests import GoldenRequest
from .model_card import ModelCard

Array = NDArray[Any]

_BLOCK_ROWS: Final = 16384


def collect_findings(directory: Path) -> list[str]:
    """Return the faults of the version in ``directory``; empty if there are none."""
    try:
        card = ModelCard.read(directory)
        requests = golden_requests.read(directory)
    except InvalidCandidate as error:
        return [str(error)]
    return [
        *_run_check("reloaded", lambda: _replay_golden_requests(directory, card, requests)),
        *_run_check("in a session", lambda: _replay_as_server(directory, card, requests)),
    ]


def measure(directory: Path, live: Path, holdout: Path | None = None) -> dict[str, Any]:
    """Compare a version with the live version.

    Returns ``{"comparison": {...}}``, the fields of a ``Comparison``; ``{"incomparable": why}``; or
    ``{"not_compared": why}`` if both contain no rows on purpose.
    """
    try:
        compared = _compare(directory, live, holdout)
    except NoRowsTravel:
        return {
            "not_compared": "inertia, kept rows and shares were not compared with version "
            f"{int(live.name)}: neither contains sample rows; give rows with "
            "--holdout"
        }
    except InvalidCandidate as error:
        return {"incomparable": str(error)}
    # As with the findings: with a broken live version, the loader may raise any exception.
    except Exception as error:  # noqa: BLE001
        reason = " ".join(str(error).split())[:300]
        return {"incomparable": f"version {live.name}: {type(error).__name__}: {reason}"}
    if compared is None:
        return {"incomparable": "both versions answer no common row"}
    return {"comparison": asdict(compared)}


def _compare(directory: Path, live: Path, holdout: Path | None) -> comparison.Comparison | None:
    mine, theirs = ModelCard.read(directory), ModelCard.read(live)
    if difference := common_rows.find_difference(theirs, mine):
        raise InvalidCandidate(f"it {difference[1]}, and version {int(live.name)} {difference[0]}")
    if theirs.encoder is not None and mine.encoder is None:
        raise InvalidCandidate(
            f"it takes no columns by name, and version {int(live.name)} does: clients that send "
            "tables would be refused"
        )
    if holdout is None:
        given = common_rows.read_rows(live, theirs, directory, mine)
    else:
        given = common_rows.read_holdout(holdout, mine)
    rows = CommonRows.of(theirs, mine, given)
    return comparison.compare(
        theirs.to_model_space(rows.before),
        answer_rows(live, rows.before, theirs),
        answer_rows(directory, rows.after, theirs, rows.align),
        int(live.name),
    )


def answer_rows(
    directory: Path,
    rows: Array,
    measure: ModelCard,
    align: Callable[[Array], Array] = np.asarray,
) -> comparison.Answers:
    """Return the answers of a version to points [n, d], in raw units.

    Its centroids are in the space of the card ``measure``, with the features of ``align``. Raises
    the exceptions of TensorFlow's loader for a broken version.
    """
    cluster_index, centroids = ask_graph(directory, rows)
    return comparison.Answers(cluster_index, measure.to_model_space(align(centroids)))


def ask_graph(directory: Path, rows: Array) -> tuple[NDArray[np.int32], Array]:
    """Return the clusters [n] of points [n, d] in raw units, and the centroids [k, d] of decode.

    Raises as ``answer_rows``.
    """
    signatures = tf.saved_model.load(str(directory)).signatures
    every = tf.range(ModelCard.read(directory).n_clusters, dtype=tf.int32)
    blocks = [
        signatures[ASSIGN](points=tf.constant(rows[start : start + _BLOCK_ROWS]))["cluster_index"]
        for start in range(0, len(rows), _BLOCK_ROWS)
    ]
    centroids = signatures[DECODE](cluster_index=every)["centroid"].numpy()
    return np.concatenate([np.zeros(0, np.int32), *blocks]), centroids


def _column_arguments(columns: Sequence[Column], tensors: Mapping[str, Array]) -> dict[str, Any]:
    """Return the columns of rows by their names in the graph.

    In Python, TensorFlow refuses names that differ only in non-ASCII characters.
    """
    return {
        column_input(place): tf.constant(tensors[column.name])
        for place, column in enumerate(columns)
    }


def _run_check(what: str, check: Callable[[], Iterator[str]]) -> list[str]:
    """Return the findings of a check; an exception that ends it is the last finding."""
    found: list[str] = []
    try:
        found.extend(f"{what}: {line}" for line in check())
    # With a corrupt file, the loader may raise any exception: all are findings.
    except Exception as error:  # noqa: BLE001
        reason = str(error).strip().splitlines() or [""]
        found.append(f"{what}: {type(error).__name__}: {reason[0][:300]}")
    return found


def _replay_golden_requests(
    directory: Path, card: ModelCard, requests: list[GoldenRequest]
) -> Iterator[str]:
    signatures = tf.saved_model.load(str(directory)).signatures
    for index, request in enumerate(requests):
        check = partial(_replay_golden_request, signatures, card, request)
        with _without_graph_optimizer():
            differs = bool(_run_check("", check))
        if differs:
            yield from _run_check(f"golden request {index} ({request.signature})", check)


@contextmanager
def _without_graph_optimizer() -> Iterator[None]:
    """Call functions in this context without TensorFlow's optimizer of graphs.

    A replay calls each function a few times on few rows, and the optimizer takes most of the time
    of a first call. It changed no bit on the processor that was tried, but may do so on others.
    """
    optimizer, name = tf.config.optimizer, "disable_meta_optimizer"
    before = optimizer.get_experimental_options().get(name, False)
    optimizer.set_experimental_options({name: True})
    try:
        yield
    finally:
        optimizer.set_experimental_options({name: before})


def _replay_golden_request(
    signatures: Mapping[str, Any], card: ModelCard, request: GoldenRequest
) -> Iterator[str]:
    if request.signature not in signatures:
        yield "the model has no such signature"
        return
    if request.signature in COLUMN_SIGNATURES:
        inputs = _column_arguments(card.columns, request.inputs)
    else:
        inputs = {name: tf.constant(array) for name, array in request.inputs.items()}
    answer = signatures[request.signature](**inputs)
    if request.outputs.keys() != answer.keys():
        yield f"outputs are {sorted(answer)}, recorded were {sorted(request.outputs)}"
        return
    for name, before in request.outputs.items():
        now = answer[name].numpy()
        if before.dtype != now.dtype or before.shape != now.shape:
            yield (
                f"{name} is {now.dtype} {list(now.shape)}, "
                f"recorded was {before.dtype} {list(before.shape)}"
            )
        elif not np.isfinite(now).all():
            yield f"{name} holds NaN or infinity"
        elif before.tobytes() != now.tobytes():
            # Compared and counted as bits, so that 0.0 and -0.0 differ.
            unequal = before.view(np.uint32) != now.view(np.uint32)
            largest = np.abs(before.astype(np.float64) - now.astype(np.float64)).max()
            yield (
                f"{name} differs from the recorded one in {np.count_nonzero(unequal)} of "
                f"{now.size} values, by up to {largest:.3g}"
            )


def _replay_as_server(
    directory: Path, card: ModelCard, requests: Sequence[GoldenRequest]
) -> Iterator[str]:
    """Replay like TensorFlow Serving: by a session, with the names of the SignatureDefs."""
    records = list(islice(warmup.read(directory), warmup.MOST_RECORDS + 1))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], str(directory))
        yield from _contract_findings(graph.signature_def, card)
        yield from _replay_examples(session, graph.signature_def, requests, card)
        yield from _replay_warmup(session, graph.signature_def, records)


def _contract_findings(signatures: Mapping[str, Any], card: ModelCard) -> Iterator[str]:
    served = {name for name in signatures if not name.startswith("__")}
    wanted_signatures = {**SIGNATURES, **card.column_signatures}
    if served - EXAMPLE_SIGNATURES.keys() != wanted_signatures.keys():
        yield f"signatures are {sorted(served)}, the contract has {sorted(wanted_signatures)}"
    if stray := served.intersection(card.signatures_left_out):
        names = " and ".join(sorted(stray))
        yield f"the card says that {names} are left out, and the model has them"
    contracts = {**wanted_signatures, **EXAMPLE_SIGNATURES}
    for name in sorted(served & contracts.keys()):
        contract = contracts[name]
        # The caller chooses the k of fit_step.
        sizes = {"d": card.n_features} | ({} if name == FIT_STEP else {"k": card.n_clusters})
        for side, wanted in (("inputs", contract.inputs), ("outputs", contract.outputs)):
            tensors = getattr(signatures[name], side)
            if tensors.keys() != {tensor.name for tensor in wanted}:
                yield f"{name}: {side} are {sorted(tensors)}, which differ from the contract"
                continue
            for tensor in wanted:
                yield from (
                    f"{name}: {line}"
                    for line in _tensor_findings(tensors[tensor.name], tensor, sizes)
                )


def _tensor_findings(given: Any, wanted: TensorContract, sizes: Mapping[str, int]) -> Iterator[str]:
    dtype = tf.dtypes.as_dtype(given.dtype).name
    if dtype != wanted.dtype:
        yield f"{wanted.name} is {dtype}, the contract says {wanted.dtype}"
    shape = tf.TensorShape(given.tensor_shape)
    expected = [int(dim) if dim.isdigit() else sizes.get(dim) for dim in wanted.shape]
    if shape.rank is None or shape.as_list() != expected:
        said = ", ".join(str(sizes.get(dim, dim)) for dim in wanted.shape)
        yield f"{wanted.name} is {shape}, the card and the contract say ({said})"


def _replay_examples(
    session: Any, signatures: Mapping[str, Any], requests: Sequence[GoldenRequest], card: ModelCard
) -> Iterator[str]:
    """Check that the golden rows as tf.Examples get the same answers as the rows."""
    if not signatures.keys() >= EXAMPLE_SIGNATURES.keys():
        return
    over = ASSIGN_COLUMNS if card.columns else ASSIGN
    for index, request in enumerate(requests):
        if request.signature != over:
            continue
        columns = request.inputs
        if not card.columns:
            columns = dict(zip(card.feature_names, request.inputs["points"].T, strict=True))
        examples = [_example(columns, row) for row in range(len(next(iter(columns.values()))))]
        fetched, fed = dict[str, str](), dict[str, Array]()
        for name in (CLASSIFY, REGRESS):
            fetched |= {key: info.name for key, info in signatures[name].outputs.items()}
            fed[signatures[name].inputs["inputs"].name] = np.array(examples, np.object_)
        # In one run: the first run of each pair of inputs and outputs prepares the graph anew.
        answers: dict[str, Array] = session.run(fetched, fed)
        classes = [int(text) for text in answers["classes"].ravel()]
        place = f"golden request {index} as tf.Examples"
        if classes != request.outputs["cluster_index"].tolist():
            yield f"{place}: {CLASSIFY} gives other clusters than {over}"
        for name in ("scores", "outputs"):
            if not np.allclose(answers[name].ravel(), request.outputs["distance"], rtol=1e-5):
                yield f"{place}: {name} are not the distances of {over}"


def _example(columns: Mapping[str, Array], row: int) -> bytes:
    """Serialize one row of columns as a tf.Example."""
    features = {}
    for name, array in columns.items():
        if array.dtype.kind == "S":
            texts = tf.train.BytesList(value=[bytes(array[row])])
            features[name] = tf.train.Feature(bytes_list=texts)
        else:
            numbers = tf.train.FloatList(value=np.ravel(array[row]))
            features[name] = tf.train.Feature(float_list=numbers)
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return bytes(example.SerializeToString())


def _replay_warmup(
    session: Any, signatures: Mapping[str, Any], records: Sequence[serving_pb2.PredictionLog]
) -> Iterator[str]:
    if not records:
        yield f"warm-up has no record at {warmup.WARMUP_FILE}"
    if len(records) > warmup.MOST_RECORDS:
        yield f"warm-up has more than {warmup.MOST_RECORDS} records: a server refuses to load it"
    for index, record in enumerate(records):
        yield from _run_check(
            f"warm-up record {index}", partial(_replay_record, session, signatures, record)
        )


def _replay_record(
    session: Any, signatures: Mapping[str, Any], record: serving_pb2.PredictionLog
) -> Iterator[str]:
    request = record.predict_log.request
    name = request.model_spec.signature_name or SERVING_DEFAULT
    if name not in signatures:
        yield f"the model has no signature {name!r}"
        return
    signature = signatures[name]
    if request.inputs.keys() != signature.inputs.keys():
        yield f"inputs are {sorted(request.inputs)}, {name} has {sorted(signature.inputs)}"
        return
    feeds = {
        signature.inputs[key].name: tf.make_ndarray(request.inputs[key]) for key in request.inputs
    }
    outputs = session.run({key: info.name for key, info in signature.outputs.items()}, feeds)
    for key, output in outputs.items():
        if not np.isfinite(output).all():
            yield f"{name}: {key} holds NaN or infinity"
