"""Fetching, with a small archive of its own; one test takes the real data, where it is in reach."""

import hashlib
import io
import tarfile

import pytest

from deephealth import DataUnavailableError, DeepHealthError, data
from deephealth.data import fetching
from deephealth.data.manifest import Member, parse

CONTENT = {"package-1.0/a/ct.nii.gz": b"volume", "package-1.0/a/labels.nii.gz": b"labels"}


def archive(path, content):
    with tarfile.open(path, "w:gz") as tar:
        for name, text in content.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    archive(folder / "package-1.0.tar.gz", {"package-1.0/other": b"x", **CONTENT})
    return folder


@pytest.fixture
def manifest(source):
    return data.Manifest(
        name="small",
        title="a small set",
        package="package",
        version="1.0",
        archive="package-1.0.tar.gz",
        bytes=(source / "package-1.0.tar.gz").stat().st_size,
        sha256=hashlib.sha256((source / "package-1.0.tar.gz").read_bytes()).hexdigest(),
        licence="MIT",
        citation="",
        reference="someone's labels",
        note="",
        labels={"liver": [1]},
        split={"block": 8, "every": 4, "gap": 2},
        members=tuple(
            Member(f"first/{name[14:]}", name, len(text), hashlib.sha256(text).hexdigest())
            for name, text in CONTENT.items()
        ),
    )


@pytest.fixture
def no_registry(monkeypatch):
    def refuse(*_):
        raise DataUnavailableError("no registry")

    monkeypatch.setattr(fetching, "_download", refuse)


def names(folder):
    return sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file())


def test_from_the_archive_and_then_from_the_cache(manifest, source, tmp_path, no_registry):
    folder = data.fetch(manifest, source, tmp_path / "cache")
    assert names(folder) == ["first/ct.nii.gz", "first/labels.nii.gz"]
    assert data.fetch(manifest, None, tmp_path / "cache") == folder
    assert names(tmp_path / "cache") == [f"{folder.name}/{name}" for name in names(folder)]


def test_from_the_archive_itself_and_from_its_content(manifest, source, tmp_path):
    data.fetch(manifest, source / "package-1.0.tar.gz", tmp_path / "one")
    with tarfile.open(source / "package-1.0.tar.gz") as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    for number, place in enumerate(["unpacked", "unpacked/package-1.0"]):
        folder = data.fetch(manifest, tmp_path / place, tmp_path / str(number))
        assert len(names(folder)) == 2


def test_a_damaged_cache_is_filled_anew(manifest, source, tmp_path, no_registry):
    folder = data.fetch(manifest, source, tmp_path / "cache")
    (folder / "first/ct.nii.gz").write_bytes(b"volum3")
    with pytest.raises(DataUnavailableError):
        data.fetch(manifest, None, tmp_path / "cache")
    data.fetch(manifest, source, tmp_path / "cache")
    assert (folder / "first/ct.nii.gz").read_bytes() == b"volume"


@pytest.mark.parametrize("damage", ["archive", "member", "missing"])
def test_what_is_not_the_manifests_is_refused(manifest, source, tmp_path, damage):
    content = dict(CONTENT)
    if damage == "member":
        content["package-1.0/a/ct.nii.gz"] = b"volume and more"
    elif damage == "missing":
        del content["package-1.0/a/ct.nii.gz"]
    archive(source / "package-1.0.tar.gz", {**content, "package-1.0/z": b"z"})
    if damage != "archive":
        found = hashlib.sha256((source / "package-1.0.tar.gz").read_bytes()).hexdigest()
        manifest = data.Manifest(**{**vars(manifest), "sha256": found})
    with pytest.raises(DataUnavailableError, match=r"SHA-256|is not the file|lacks"):
        data.fetch(manifest, source, tmp_path / "cache")
    assert names(tmp_path / "cache") == []


def test_links_are_not_followed_out_of_the_archive(manifest, source, tmp_path):
    with tarfile.open(source / "package-1.0.tar.gz", "w:gz") as tar:
        entry = tarfile.TarInfo("package-1.0/a/ct.nii.gz")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(entry)
    found = hashlib.sha256((source / "package-1.0.tar.gz").read_bytes()).hexdigest()
    manifest = data.Manifest(**{**vars(manifest), "sha256": found})
    with pytest.raises(DataUnavailableError):
        data.fetch(manifest, source, tmp_path / "cache")


@pytest.mark.parametrize("place", ["nowhere", "empty"])
def test_a_folder_without_the_data_is_one_line(manifest, tmp_path, place):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataUnavailableError) as caught:
        data.fetch(manifest, tmp_path / place, tmp_path / "cache")
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_pip_that_cannot_fetch_is_one_line(manifest, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "file:///no/such/index")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(DataUnavailableError, match="--data FOLDER") as caught:
        data.fetch(manifest, None, tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert names(tmp_path / "cache") == []


@pytest.mark.parametrize("file", ["../a", "/a", ""])
def test_a_manifest_cannot_name_files_outside(file):
    content = {"schema": "deephealth/data/v1", "client": "pip sdist"}
    rest = dict.fromkeys(
        ["name", "title", "package", "version", "archive", "sha256", "licence"], "x"
    )
    rest |= dict.fromkeys(["citation", "reference", "note"], "x")
    members = [{"file": file, "from": "a", "bytes": 1, "sha256": "x"}]
    with pytest.raises(DeepHealthError, match="outside"):
        parse({**content, **rest, "bytes": 1, "labels": {}, "split": {}, "members": members})


def test_the_manifests_that_come_with_the_toolkit():
    for name in data.names():
        found = data.manifest(name)
        assert found.licence
        assert found.citation
        assert all(len(member.sha256) == 64 for member in found.members)
        grouped = [number for numbers in found.labels.values() for number in numbers]
        assert len(grouped) == len(set(grouped))


@pytest.mark.data
def test_the_real_data_is_what_the_manifest_says():
    try:
        folder = data.fetch(data.manifest("totalsegmentator"))
    except DataUnavailableError as error:
        pytest.skip(str(error))
    assert len(names(folder)) == 23
