import pytest

from deephealth import DeepHealthError, Tool


def test_a_chain_ends_in_success_or_in_a_reason(tmp_path):
    seen = []
    Tool("open_path").set(path=tmp_path).run().on_success(seen.append)
    Tool("open_path").set(path=tmp_path / "no").run().on_failure(seen.append)
    assert seen[0].path == tmp_path
    assert "does not exist" in seen[1]


def test_a_wrong_setting_is_a_failure():
    assert "has no 'file'" in Tool("open_path").set(file="a").run().reason


def test_an_unknown_tool_is_an_error():
    with pytest.raises(DeepHealthError, match="did you mean open_path"):
        Tool("open_pth")
