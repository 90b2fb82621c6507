import pytest

from deephealth import DeepHealthError
from deephealth.pipelines.folder import claim

PARAMETERS = {
    "seed": {"type": "integer", "default": 0},
    "data": {"type": "path", "default": None},
}


@pytest.fixture
def made(document):
    return document(("a", "constant"), parameters=PARAMETERS)


def begin(out, document, **options):
    with claim(out, document, **options) as (taken, state):
        (state / "result").touch()
        return taken.parameters


def test_an_earlier_run_is_only_gone_on_with_when_asked(made, tmp_path):
    out = tmp_path / "out"
    assert begin(out, made.set(seed=3))["seed"] == 3
    with pytest.raises(DeepHealthError, match="--resume"):
        begin(out, made)
    assert begin(out, made, resume=True)["seed"] == 3


def test_going_on_keeps_the_parameters(made, tmp_path):
    out = tmp_path / "out"
    begin(out, made.set(seed=3, data="x"))
    with pytest.raises(DeepHealthError, match="seed 3, received 4"):
        begin(out, made.set(seed=4), resume=True)
    free = frozenset({"data"})
    assert begin(out, made.set(data="y"), resume=True, free=free) == {"seed": 3, "data": "y"}


def test_going_on_needs_the_same_document(made, document, tmp_path):
    begin(tmp_path / "out", made)
    with pytest.raises(DeepHealthError, match="another document"):
        begin(tmp_path / "out", document(("b", "constant")), resume=True)


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_of_something_else_is_left_alone(made, tmp_path, resume):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").touch()
    with pytest.raises(DeepHealthError, match="not empty"):
        begin(tmp_path / "out", made, resume=resume)
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_a_file_is_not_a_folder(made, tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(DeepHealthError, match="is a file"):
        begin(tmp_path / "out", made)


def test_resuming_what_never_began_begins(made, tmp_path):
    assert begin(tmp_path / "out", made, resume=True)["seed"] == 0


def test_a_run_that_kept_nothing_leaves_nothing(made, tmp_path):
    with claim(tmp_path / "new", made):
        pass
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    with claim(tmp_path / "old", made):
        pass
    assert list((tmp_path / "old").iterdir()) == []


def test_two_runs_do_not_share_a_folder(made, tmp_path):
    with claim(tmp_path / "out", made), pytest.raises(DeepHealthError, match="another run"):
        begin(tmp_path / "out", made, resume=True)
