import os

import pytest

from deephealth import DocumentError
from deephealth.pipelines import run

ONE = ("a", "constant", {"value": 2.0})


@pytest.fixture
def go(catalogue, tmp_path):
    def start(document, **options):
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        return run(document, out, catalogue=catalogue, **options)

    return start


def test_the_outputs_that_nobody_takes_are_the_value(document, go):
    steps = [("c", "add", {"times": 3}, {"a": "b.left", "b": "b.right"})]
    steps += [ONE, ("b", "split", {}, {"number": "a.number"})]
    assert go(document(*steps)).value == {"c.number": 4.0}


def test_steps_after_a_failure_do_not_run(document, go, calls):
    steps = [ONE, ("b", "fail", {}, {"a": "a.number"}), ("c", "add", {}, {"a": "b.number"})]
    events = []
    result = go(document(*steps), listen=events.append)
    assert result.reason == "fail: there is nothing here; look elsewhere"
    assert calls == ["constant", "fail"]
    assert [event.status for event in events] == ["started", "finished", "started", "failed"]


def test_a_wrong_document_does_not_start(document, go, calls):
    result = go(document(ONE, ("b", "nothing")))
    assert "unknown operation" in result.reason
    assert isinstance(result.error, DocumentError)
    assert calls == []


def test_results_are_reused_by_content(document, go, calls, tmp_path):
    keep = tmp_path / "keep"
    steps = [ONE, ("b", "add", {}, {"a": "a.number"})]
    first = go(document(*steps), keep=keep).value
    assert go(document(*steps), keep=keep).value == first
    assert calls == ["constant", "add"]
    changed = [ONE, ("b", "add", {"times": 2}, {"a": "a.number"})]
    go(document(*changed), keep=keep)
    assert calls == ["constant", "add", "add"]
    go(document(("a", "constant", {"value": 3.0}), steps[1]), keep=keep)
    assert calls == ["constant", "add", "add", "constant", "add"]


def test_a_default_counts_like_the_same_value_written_down(document, go, calls, tmp_path):
    keep = tmp_path / "keep"
    go(document(("a", "constant")), keep=keep)
    go(document(("a", "constant", {"value": 1.0})), keep=keep)
    assert calls == ["constant"]


def test_a_file_counts_by_its_content(document, go, calls, tmp_path):
    keep = tmp_path / "keep"
    made = document(("a", "read_number", {"path": "n.txt"}))
    (made.folder / "n.txt").write_text("3")
    go(made, keep=keep)
    (made.folder / "n.txt").write_text("4")
    assert go(made, keep=keep).value == {"a.number": 4.0}
    go(made, keep=keep)
    assert calls == ["read_number", "read_number"]


def test_unfinished_work_survives_an_interruption(document, go, tmp_path):
    keep = tmp_path / "keep"
    made = document(("a", "count", {"stop": True}))
    assert not go(made, keep=keep).ok
    assert not go(made, keep=keep).ok
    assert go(made, keep=keep).value == {"a.number": 3.0}
    assert list((keep / "unfinished").iterdir()) == []


def test_a_damaged_leftover_is_not_a_result(document, go, calls, tmp_path):
    keep = tmp_path / "keep"
    (keep / "results" / ".partial-00-a").mkdir(parents=True)
    go(document(ONE), keep=keep)
    assert calls == ["constant"]
    assert all(not one.name.startswith(".partial") for one in (keep / "results").iterdir())


def test_paths_stay_within_the_document_and_the_output(document, go, tmp_path):
    (tmp_path / "secret.txt").write_text("7")
    made = document(("a", "read_number", {"path": "../secret.txt"}))
    assert "leads outside" in go(made).reason
    assert go(made, roots=[tmp_path / "secret.txt"]).value == {"a.number": 7.0}
    os.symlink(tmp_path / "secret.txt", made.folder / "link.txt")
    assert "leads outside" in go(document(("a", "read_number", {"path": "link.txt"}))).reason
    absolute = document(("a", "read_number", {"path": str(tmp_path / "secret.txt")}))
    assert "leads outside" in go(absolute).reason
    steps = [ONE, ("b", "say", {}, {"number": "a.number"})]
    for path in ("../b.txt", "/tmp/b.txt"):
        write = ("c", "write_word", {"path": path}, {"word": "b.word"})
        assert "leads outside" in go(document(*steps, write)).reason


def test_a_run_tells_its_steps_what_it_knows(document, go, tmp_path):
    steps = [ONE, ("b", "say", {}, {"number": "a.number"})]
    go(document(*steps, ("c", "write_word", {"path": "c.txt"}, {"word": "b.word"})))
    assert (tmp_path / "out" / "c.txt").read_text() == "2 ['a', 'b']"
