"""The public names of the release before resolve, with a warning that says the new one."""

import pytest

import serving


def test_step_is_fit_step_result_with_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match=r"serving\.Step is serving\.FitStepResult now"):
        old = serving.Step  # type: ignore[attr-defined]
    assert old is serving.FitStepResult
    assert "Step" not in dir(serving)
