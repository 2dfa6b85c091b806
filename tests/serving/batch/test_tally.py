"""What is counted adds up, and its quantiles are near those of all distances."""

import json

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from export.model_card import QUANTILES
from kmeans_module.columns import CategoryColumn, NumberColumn
from serving.batch.column_gaps import count_gaps, describe_gaps
from serving.batch.tally import Tally

_distances = npst.arrays(
    np.float32,
    st.integers(0, 200),
    elements=st.floats(0, 2.0**100, width=32, allow_subnormal=False),
)


def tally_of(distance: NDArray[np.float32], rejected: int = 0) -> Tally:
    tally = Tally.empty(3)
    index = (np.arange(len(distance)) % 3).astype(np.int32)
    is_scored = np.arange(len(distance) + rejected) < len(distance)
    tally.count(np.pad(index, (0, rejected)), np.pad(distance, (0, rejected)), is_scored)
    return tally


@settings(deadline=None)
@given(_distances, st.data())
def test_parts_add_up_to_the_whole_whatever_the_cuts_and_the_order(
    distance: NDArray[np.float32], data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(distance)), max_size=4)))
    parts = [tally_of(part, 1) for part in np.split(distance, cuts)]
    total = Tally.empty(3)
    for part in data.draw(st.permutations(parts)):
        total.add(Tally.from_json(json.loads(json.dumps(part.to_json()))))
    whole = tally_of(distance, len(parts))
    assert (total.rows, total.rejected) == (len(distance) + len(parts), len(parts))
    assert total.quantiles() == whole.quantiles()
    assert total.cluster_counts.sum() == len(distance)


@settings(deadline=None)
@given(_distances.filter(len))
def test_a_quantile_is_within_a_fifth_of_a_percent_of_a_distance_of_its_rank(
    distance: NDArray[np.float32],
) -> None:
    found = tally_of(distance).quantiles()
    ordered = np.sort(distance).astype(np.float64)
    for name, share in QUANTILES.items():
        rank = share * (len(ordered) - 1)
        # Any value between the two neighbours is a quantile.
        low, high = ordered[int(np.floor(rank))], ordered[int(np.ceil(rank))]
        assert low * (1 - 2e-3) <= found[name] <= high * (1 + 2e-3) + 1e-38
    assert found["0"] == ordered[0]
    assert found["1"] == ordered[-1]


def test_nothing_counted_has_no_quantiles() -> None:
    assert Tally.empty(3).quantiles() == {}
    assert tally_of(np.array([], np.float32), 4).to_json()["least"] is None


def test_clusters_are_counted() -> None:
    tally = Tally.empty(4)
    index = np.array([3, -1, 1, 1, -1], np.int32)
    tally.count(index, np.ones(5, np.float32), index >= 0)
    assert tally.cluster_counts.tolist() == [0, 2, 0, 1]
    assert (tally.rows, tally.rejected) == (5, 2)


def test_values_that_a_model_has_no_value_for_add_up_by_column_over_parts() -> None:
    columns = (NumberColumn("income", 2.0), NumberColumn("age"), CategoryColumn("plan", ("a", "b")))
    inputs = {
        "income": np.array([np.nan, 1.0, np.nan], np.float32),
        "age": np.array([1.0, 1.0, np.nan], np.float32),
        "plan": np.array(["a", "c", ""], object),
    }
    dictionary = pa.array(["a", "c", None]).dictionary_encode()
    is_scored = np.array([True, True, False])
    total = Tally.empty(1)
    for plan in (inputs["plan"], dictionary):
        gaps = count_gaps(columns, inputs | {"plan": plan}, is_scored)
        part = Tally.empty(1)
        part.count(np.zeros(3, np.int32), np.ones(3, np.float32), is_scored, gaps)
        total.add(Tally.from_json(json.loads(json.dumps(part.to_json()))))
    assert total.gaps == {"income": {"filled": 2}, "plan": {"unknown": 2, "missing": 0}}
    said = "income: 2 of 4 values filled; plan: 2 of 4 values unknown"
    assert describe_gaps(total.gaps, total.rows - total.rejected) == said


def test_a_record_of_0_1_counts_no_values_and_points_have_none() -> None:
    value = Tally.empty(2).to_json()
    del value["gaps"]
    assert Tally.from_json(value).gaps == {}
    assert count_gaps((), np.ones((2, 1), np.float32), np.ones(2, bool)) == {}
