"""What is counted adds up, and its quantiles are near those of all distances."""

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from export.model_card import QUANTILES
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
