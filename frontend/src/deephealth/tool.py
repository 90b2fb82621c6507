"""One operation of the catalogue from Python, in a chain."""

from __future__ import annotations

from typing import Any

from deephealth.result import Result


class Tool:
    """An operation by name, its settings, and its result.

    Inputs take what their plugs understand (a path, an array), numbers may be text. The value of
    the result is the only output, or a mapping of several.

    >>> Tool("open_path").set(path="no such scan").run().on_success(print).on_failure(print).ok
    open_path: no such scan does not exist; check the name
    False
    """

    def __init__(self, name: str) -> None:
        from deephealth.operations import CATALOGUE

        self.operation = CATALOGUE[name]
        self.settings: dict[str, Any] = {}

    def set(self, **settings: Any) -> Tool:
        """Set inputs and parameters by name; returns this tool.

        >>> Tool("open_path").set(path=".").settings
        {'path': '.'}
        """
        self.settings.update(settings)
        return self

    def run(self) -> Result[Any]:
        """Run the operation with the settings so far.

        >>> Tool("open_path").set(path=".").run().value
        SourceFile(path=PosixPath('.'), fingerprint=None)
        """
        ports = self.operation.inputs
        result = self.operation.run(
            {name: value for name, value in self.settings.items() if name in ports},
            {name: value for name, value in self.settings.items() if name not in ports},
        )
        return result.then(
            lambda outputs: Result.success(
                next(iter(outputs.values())) if len(outputs) == 1 else outputs or None
            )
        )
