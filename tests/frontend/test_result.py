import pytest

from deephealth import DataUnavailableError, DeepHealthError, Result


def test_a_success_has_a_value_and_no_reason():
    seen = []
    result = Result.success(None).on_success(seen.append).on_failure(seen.append)
    assert result.ok
    assert result.reason is None
    assert seen == [None]


def test_nothing_runs_after_a_failure():
    seen = []
    result = Result.failure("no scan").then(seen.append).on_success(seen.append)
    assert not result.ok
    assert result.reason == "no scan"
    assert seen == []


def test_asking_a_failure_for_its_value_raises_the_reason():
    with pytest.raises(DeepHealthError, match="no scan"):
        _ = Result.failure("no scan").value
    with pytest.raises(DataUnavailableError):
        _ = Result.failure("no data", DataUnavailableError("no data")).value


def test_a_failure_always_has_a_reason():
    assert Result.failure("").reason
