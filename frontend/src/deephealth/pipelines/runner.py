"""Running a document: check, then step by step, to success or to a failure with a reason.

Steps run in the order of their inputs; those after a failure do not run. A value is let go as soon
as no later step needs it. With ``keep=FOLDER`` results that can be stored are, and an interrupted
run with the same folder goes on where it was. Paths that are read resolve within the document's own
folder (links included) or the given roots, paths that are written within ``out``.
`tests/frontend/pipelines/test_runner.py` holds these promises.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from deephealth import files
from deephealth.errors import DeepHealthError, DocumentError
from deephealth.operations import CATALOGUE
from deephealth.operations.catalogue import Catalogue, Operation
from deephealth.operations.ports import Context, Reads, Writes
from deephealth.operations.signature import REQUIRED
from deephealth.pipelines import cache
from deephealth.pipelines.check import check, order
from deephealth.pipelines.document import Document, filled
from deephealth.result import Result


@dataclass(frozen=True)
class Event:
    """What happened to a step, for whoever listens.

    >>> Event("train", "train_unet", "started").seconds
    0.0
    """

    step: str
    operation: str
    status: Literal["started", "finished", "reused", "failed"]
    seconds: float = 0.0
    reason: str | None = None


def run(
    document: Document,
    out: str | Path,
    *,
    roots: Sequence[str | Path] = (),
    keep: str | Path | None = None,
    warn: Callable[[str], None] | None = None,
    listen: Callable[[Event], None] = lambda event: None,
    catalogue: Catalogue = CATALOGUE,
) -> Result[dict[str, Any]]:
    """Run a document; the value maps ``step.port`` to the outputs that no step takes in.

    Args:
        document: from `load` or `builtin`, its parameters set.
        out: the folder that written paths are relative to and stay within.
        roots: files and folders that may be read besides the document's own folder.
        keep: a folder for results and unfinished work; None keeps nothing.
        warn: takes one line for people; stderr by default.
        listen: is told what happens, step by step.
        catalogue: the operations that the document may name.

    >>> from tempfile import TemporaryDirectory
    >>> document = Document({"schema": "deephealth/pipeline/v1", "steps": [
    ...     {"id": "here", "op": "open_path", "params": {"path": "missing"}}]}, Path("."))
    >>> with TemporaryDirectory() as folder:
    ...     print(run(document, folder).reason)
    open_path: .../missing does not exist; check the name
    """
    problems = check(document, catalogue)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        reason = f"the document cannot run: {problems[0]}{more}"
        return Result.failure(reason, DocumentError(reason))
    allowed = [document.folder, *map(Path, roots)]
    one = _Run(document, Path(out), allowed, catalogue, listen)
    if warn is not None:
        one.warn = warn
    if keep is not None:
        one.cache = cache.Cache(Path(keep))
    return one.run()


def within(path: Path, base: Path, roots: Sequence[Path]) -> Path:
    """The real path of `path` (relative to `base`), which must lie within one of `roots`.

    >>> within(Path("../secret"), Path("/data"), [Path("/data")])
    Traceback (most recent call last):
    deephealth.errors.DocumentError: the path ../secret leads outside /data; ...
    """
    real = (base / path).resolve()
    if not any(real.is_relative_to(root.resolve()) for root in roots):
        places = ", ".join(str(root) for root in roots)
        raise DocumentError(
            f"the path {path} leads outside {places}; put it there or allow its folder by roots="
        )
    return real


@dataclass
class _Run:
    document: Document
    out: Path
    roots: list[Path]
    catalogue: Catalogue
    listen: Callable[[Event], None]
    cache: cache.Cache | None = None
    warn: Callable[[str], None] = field(default_factory=lambda: Context().warn)
    values: dict[str, Any] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self) -> Result[dict[str, Any]]:
        steps = [self.document.steps[index] for index in order(self.document)]
        for position, step in enumerate(steps):
            operation = self.catalogue[step["op"]]
            self.listen(Event(step["id"], operation.name, "started"))
            started = time.monotonic()
            try:
                result, status = self._step(step, operation)
            except (DeepHealthError, OSError) as error:
                result, status = Result.failure(f"{operation.name}: {error}", error), "failed"
            took = self.seconds[step["id"]] = time.monotonic() - started
            if not result.ok:
                self.listen(Event(step["id"], operation.name, "failed", took, result.reason))
                return result
            self.listen(Event(step["id"], operation.name, status, took))
            self.values |= {f"{step['id']}.{port}": one for port, one in result.value.items()}
            self._let_go(steps[position + 1 :])
        return Result.success(self.values)

    def _step(
        self, step: dict[str, Any], operation: Operation
    ) -> tuple[Result[dict[str, Any]], Literal["finished", "reused", "failed"]]:
        edges = step.get("inputs", {})
        inputs = {port: self.values[edge] for port, edge in edges.items()}
        settings = filled(step.get("params", {}), self.document.parameters)
        parameters = self._with_paths(settings, operation)
        context = Context(warn=self.warn, facts=self._facts())
        if self.cache is None:
            return operation.run(inputs, parameters, context), "finished"
        input_hashes = {port: self.hashes[edge] for port, edge in edges.items()}
        key = cache.key(operation, self._countable(settings, parameters, operation), input_hashes)
        kept = self.cache.load(step["id"], key, operation) if cache.can_keep(operation) else None
        if kept is not None:
            self._note(step["id"], key, operation, kept)
            return Result.success(kept), "reused"
        if operation.context is not None and operation.cached:
            context.folder = self.cache.work(step["id"], key)
        result = operation.run(inputs, parameters, context)
        if result.ok:
            result = Result.success(self.cache.store(step["id"], key, operation, result.value))
            self._note(step["id"], key, operation, result.value)
        return result, "finished"

    def _with_paths(self, settings: dict[str, Any], operation: Operation) -> dict[str, Any]:
        resolved = dict(settings)
        for name, value in settings.items():
            mark = operation.parameters[name].mark
            if isinstance(mark, Reads) and value is not None:
                resolved[name] = within(Path(value), self.document.folder, self.roots)
            elif isinstance(mark, Writes) and value is not None:
                resolved[name] = within(Path(value), self.out, [self.out])
        return resolved

    def _countable(
        self, settings: dict[str, Any], parameters: dict[str, Any], operation: Operation
    ) -> dict[str, Any]:
        counted = {
            name: one.schema["default"]
            for name, one in operation.parameters.items()
            if one.default is not REQUIRED
        } | settings
        for name, value in parameters.items():
            if isinstance(operation.parameters[name].mark, Reads) and value is not None:
                counted[name] = files.sha256(value) if operation.cached and value.exists() else None
        return counted

    def _note(self, step: str, key: str, operation: Operation, outputs: dict[str, Any]) -> None:
        for name, value in outputs.items():
            fingerprint = operation.outputs[name].fingerprint
            self.hashes[f"{step}.{name}"] = fingerprint(value) if fingerprint else f"{key}/{name}"

    def _facts(self) -> dict[str, Any]:
        return {
            "document": {"name": self.document.name, "sha256": self.document.hash},
            "parameters": self.document.parameters,
            "seconds": dict(self.seconds),
        }

    def _let_go(self, later: list[dict[str, Any]]) -> None:
        needed = {edge for step in later for edge in step.get("inputs", {}).values()}
        taken = {edge for step in self.document.steps for edge in step.get("inputs", {}).values()}
        for edge in list(self.values):
            if edge in taken and edge not in needed:
                del self.values[edge]
