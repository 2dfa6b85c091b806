"""The model in this process."""

from pathlib import Path

import numpy as np
import pytest

from export.candidate import write_saved_model
from export.errors import InvalidCandidate
from kmeans_module import KMeansModule
from serving.batch.scorer import LocalScorer


def test_a_version_answers_as_its_module_does_also_for_no_rows_and_bad_rows(tmp_path: Path) -> None:
    centroids, shift, scale = (
        np.array(values, np.float32) for values in ([[-1, 0], [1, 0]], [10, 0], [1, 2])
    )
    module = KMeansModule(centroids, shift, scale)
    (tmp_path / "7").mkdir()
    write_saved_model(tmp_path / "7", module)
    scorer = LocalScorer(tmp_path / "7")

    # (12 - 10, 4 / 2) is (2, 2) in the model's space: the root of 5 from (1, 0).
    found = scorer.assign(np.array([[9, 0], [12, 4], [np.nan, 0]]))

    assert found.version == scorer.version == 7
    assert found.cluster_index.dtype == np.int32
    np.testing.assert_array_equal(found.cluster_index, [0, 1, -1])
    np.testing.assert_allclose(found.distance, [0, np.sqrt(5), -1], rtol=1e-6)
    assert scorer.assign(np.empty((0, 2))).distance.shape == (0,)


def test_a_version_that_does_not_load_is_named(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"broken")
    with pytest.raises(InvalidCandidate, match=r"/1: cannot be loaded: "):
        LocalScorer(tmp_path / "1")
