import pytest

from deephealth import files


def test_a_failed_write_changes_nothing(tmp_path):
    path = tmp_path / "report.json"
    files.write(path, "before")
    with pytest.raises(RuntimeError), files.replacing(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]


def test_the_temporary_name_keeps_the_ending(tmp_path):
    with files.replacing(tmp_path / "labels.nii.gz") as temporary:
        assert temporary.name.endswith(".nii.gz")
        temporary.touch()


def test_a_folder_is_whole_or_absent(tmp_path):
    def fail(folder):
        (folder / "a").touch()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        files.write_folder(tmp_path / "result", fail)
    assert list(tmp_path.iterdir()) == []


def test_the_first_writer_of_a_folder_wins(tmp_path):
    files.write_folder(tmp_path / "result", lambda folder: (folder / "a").write_text("1"))
    files.write_folder(tmp_path / "result", lambda folder: (folder / "a").write_text("2"))
    assert (tmp_path / "result" / "a").read_text() == "1"


def test_sweep_removes_leftovers_only(tmp_path):
    (tmp_path / f"{files.MARK}1-a").mkdir()
    (tmp_path / f"{files.MARK}2-b").touch()
    (tmp_path / "c").touch()
    files.sweep(tmp_path, older_than=60)
    assert len(list(tmp_path.iterdir())) == 3
    files.sweep(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["c"]


def test_the_hash_of_a_folder_counts_names_and_contents(tmp_path):
    (tmp_path / "a").write_text("1")
    first = files.sha256(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert files.sha256(tmp_path) != first
