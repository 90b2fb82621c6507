"""Step results kept on disk by content hash.

The key of a step hashes the operation's name and version, its parameters and the hashes of its
inputs; a path counts by its content. A result is a folder with one sub-folder a port, renamed into
place when whole, so that whatever is there is right. `tests/frontend/pipelines/test_cache.py` holds
this.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deephealth import files, plain
from deephealth.operations.catalogue import Operation


def key(operation: Operation, parameters: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """The content hash of a step from its parameters (plain data) and its inputs' hashes.

    >>> from deephealth.operations.catalogue import Catalogue
    >>> catalogue = Catalogue()
    >>> @catalogue.operation("nothing", help="does nothing")
    ... def nothing() -> None: ...
    >>> len(key(catalogue["nothing"], {}, {}))
    64
    """
    return plain.digest([operation.name, operation.version, dict(parameters), dict(inputs)])


class Cache:
    """The results and the unfinished work of a run's steps, under one folder.

    >>> from tempfile import TemporaryDirectory
    >>> from deephealth.operations import CATALOGUE
    >>> fit = CATALOGUE["fit_rule"]
    >>> with TemporaryDirectory() as folder:
    ...     cache = Cache(Path(folder))
    ...     print(cache.work("rule", "0" * 64).name, cache.load("rule", "0" * 64, fit))
    ...     print(cache.store("rule", "0" * 64, fit, {"rule": {"liver": {"low": 40.0}}}))
    ...     print(cache.load("rule", "0" * 64, fit))
    rule-0000000000000000 None
    {'rule': {'liver': {'low': 40.0}}}
    {'rule': {'liver': {'low': 40.0}}}
    """

    def __init__(self, folder: Path) -> None:
        self.results = folder / "results"
        self.unfinished = folder / "unfinished"
        for one in (self.results, self.unfinished):
            one.mkdir(parents=True, exist_ok=True)
            files.sweep(one)

    def work(self, step: str, key: str) -> Path:
        """A folder for the step's own use that survives an interruption; it goes with `store`."""
        folder = self.unfinished / f"{step}-{key[:16]}"
        folder.mkdir(exist_ok=True)
        files.sweep(folder)
        return folder

    def load(self, step: str, key: str, operation: Operation) -> dict[str, Any] | None:
        """The stored outputs by port, None when there are none."""
        folder = self.results / f"{step}-{key[:16]}"
        if not folder.is_dir():
            return None
        return {
            name: port.load(folder / name)
            for name, port in operation.outputs.items()
            if port.load is not None
        }

    def store(
        self, step: str, key: str, operation: Operation, outputs: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Keep the outputs when every port can; gives them as a later `load` would."""
        name = f"{step}-{key[:16]}"
        result = dict(outputs)
        if can_keep(operation):

            def fill(folder: Path) -> None:
                for port_name, port in operation.outputs.items():
                    (folder / port_name).mkdir()
                    if port.save is not None:
                        port.save(outputs[port_name], folder / port_name)

            files.write_folder(self.results / name, fill)
            result = self.load(step, key, operation) or result
            shutil.rmtree(self.unfinished / name, ignore_errors=True)
        return result


def can_keep(operation: Operation) -> bool:
    """Whether a step's outputs can all be stored and are worth it.

    >>> from deephealth.operations.catalogue import Catalogue
    >>> catalogue = Catalogue()
    >>> @catalogue.operation("nothing", help="does nothing")
    ... def nothing() -> None: ...
    >>> can_keep(catalogue["nothing"])
    False
    """
    ports = operation.outputs.values()
    return operation.cached and bool(ports) and all(port.kept for port in ports)
