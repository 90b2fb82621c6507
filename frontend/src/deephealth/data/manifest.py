"""A manifest: where public data comes from, what it hashes to, and what may be done with it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

from deephealth import plain
from deephealth.errors import DeepHealthError

SCHEMA = "deephealth/data/v1"


@dataclass(frozen=True)
class Member:
    """A file of the archive: its path there, and the name, size and SHA-256 it has here.

    >>> Member("first/ct.nii.gz", "package-1.0/tests/ct.nii.gz", 12, "ab").file
    'first/ct.nii.gz'
    """

    file: str
    source: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A pinned set of public files.

    `labels` groups the numbers of the label volumes under the names to learn, and `split` holds the
    fixed division of the first patient's slices.

    >>> manifest("totalsegmentator").licence
    'Apache-2.0'
    """

    name: str
    title: str
    package: str
    version: str
    archive: str
    bytes: int
    sha256: str
    licence: str
    citation: str
    reference: str
    note: str
    labels: dict[str, list[int]]
    split: dict[str, int]
    members: tuple[Member, ...]

    @property
    def fingerprint(self) -> str:
        """A hash of the files that the data consists of, wherever they were taken from.

        >>> len(manifest("totalsegmentator").fingerprint)
        64
        """
        return plain.digest([[member.file, member.sha256] for member in self.members])


def names() -> list[str]:
    """The names of the manifests that come with the toolkit.

    >>> names()
    ['totalsegmentator']
    """
    folder = resources.files("deephealth.data")
    return sorted(file.name[:-4] for file in folder.iterdir() if file.name.endswith(".yml"))


def manifest(name: str) -> Manifest:
    """The manifest of a name that comes with the toolkit.

    >>> [member.file for member in manifest("totalsegmentator").members][:2]
    ['first/ct.nii.gz', 'first/labels.nii.gz']
    """
    if name in names():
        text = resources.files("deephealth.data").joinpath(f"{name}.yml").read_bytes()
        return parse(plain.parse(text))
    raise DeepHealthError(f"unknown data {name!r}; choose one of {', '.join(names())}")


def load(path: Path) -> Manifest:
    """A manifest from a YAML or JSON file.

    >>> load(Path("missing.yml"))
    Traceback (most recent call last):
    deephealth.errors.DocumentError: missing.yml cannot be read: ...
    """
    return parse(plain.read(path))


def parse(content: Any) -> Manifest:
    """A manifest from plain data.

    >>> parse({"schema": "something else"})
    Traceback (most recent call last):
    deephealth.errors.DeepHealthError: not a manifest: expected schema: deephealth/data/v1
    """
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise DeepHealthError(f"not a manifest: expected schema: {SCHEMA}")
    if content.get("client") != "pip sdist":
        raise DeepHealthError(f"unknown client {content.get('client')!r}: expected 'pip sdist'")
    fields = {name: part for name, part in content.items() if name not in ("schema", "client")}
    try:
        members = tuple(
            Member(one["file"], one["from"], one["bytes"], one["sha256"])
            for one in fields.pop("members")
        )
        found = Manifest(**fields, members=members)
    except (KeyError, TypeError) as error:
        raise DeepHealthError(f"not a manifest: {error}; compare with the toolkit's own") from error
    for member in found.members:
        path = PurePosixPath(member.file)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise DeepHealthError(f"the member {member.file!r} leads outside the data's folder")
    return found
