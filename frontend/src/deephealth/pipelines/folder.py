"""The folder that a run writes into: whose it is, and whether a run may start or go on there.

A run records its document and parameters in ``.deephealth/run.json``. A folder that holds anything
else is never written into, an earlier run is only gone on with when asked to, and never with other
parameters. `tests/frontend/pipelines/test_folder.py` holds these rules.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deephealth import files, plain
from deephealth.errors import DeepHealthError
from deephealth.pipelines.document import Document

STATE = ".deephealth"
_BOOKKEEPING = ("run.json", "lock")


@contextmanager
def claim(
    out: Path, document: Document, resume: bool = False, free: frozenset[str] = frozenset()
) -> Iterator[tuple[Document, Path]]:
    """Take `out` for a run of `document`; gives the document to run and the folder for its state.

    Args:
        out: the folder to write into; made when absent.
        document: the document, with only those parameters chosen that the caller names.
        resume: go on with the run that `out` holds; its parameters are taken over.
        free: names of parameters that may differ when going on (where data is found, for example).

    >>> from tempfile import TemporaryDirectory
    >>> document = Document({"schema": "deephealth/pipeline/v1", "steps": []}, Path("."))
    >>> with TemporaryDirectory() as folder:
    ...     with claim(Path(folder) / "out", document) as (document, state):
    ...         print(state.name)
    .deephealth
    """
    state = out / STATE
    record = state / "run.json"
    if out.exists() and not out.is_dir():
        raise DeepHealthError(f"{out} is a file; choose another --out")
    begun = record.is_file()
    strangers = [] if not out.exists() else [one for one in os.listdir(out) if not _ours(one)]
    if begun and not resume:
        raise DeepHealthError(
            f"{out} holds an earlier run; go on with --resume, or choose another --out"
        )
    if not begun and strangers:
        raise DeepHealthError(f"{out} is not empty ({strangers[0]}); choose another --out")
    made = not out.exists()
    state.mkdir(parents=True, exist_ok=True)
    with _alone(state):
        if begun:
            document = _go_on(document, plain.read(record), out, free)
        else:
            files.write(record, json.dumps(_record(document), indent=2))
        for folder in (out, state):
            files.sweep(folder)
        try:
            yield document, state
        finally:
            if not begun:
                _give_back(out, state, made)


def _give_back(out: Path, state: Path, made: bool) -> None:
    """Leave no trace of a run that ended before it had anything to keep."""
    kept = [one for one in state.rglob("*") if one.is_file() and one.name not in _BOOKKEEPING]
    if kept or any(not _ours(name) for name in os.listdir(out)):
        return
    shutil.rmtree(state)
    if made:
        out.rmdir()


def _ours(name: str) -> bool:
    return name == STATE or name.startswith(files.MARK)


def _record(document: Document) -> dict[str, Any]:
    return {
        "schema": "deephealth/run/v1",
        "document": document.hash,
        "parameters": document.parameters,
    }


def _go_on(
    document: Document, record: Mapping[str, Any], out: Path, free: frozenset[str]
) -> Document:
    if record.get("document") != document.hash:
        raise DeepHealthError(f"{out} holds a run of another document; choose another --out")
    before = record.get("parameters", {})
    for name, value in (document.chosen or {}).items():
        if name not in free and before.get(name) != value:
            raise DeepHealthError(
                f"{out} holds a run with {name} {before.get(name)}, received {value}; "
                "leave it out, or choose another --out"
            )
    chosen = {name: value for name, value in before.items() if name not in free}
    return document.set(**(chosen | dict(document.chosen or {})))


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # no such locks on this system; two runs at once are then not noticed
        yield
        return
    with open(state / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DeepHealthError(
                f"another run is writing into {state.parent}; wait for it, or choose another --out"
            ) from error
        yield
