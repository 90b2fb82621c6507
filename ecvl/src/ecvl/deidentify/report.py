"""What a de-identification did, and what it did not look at."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class FileReport:
    """What was done to one file.

    Attributes:
        source: the file it came from; kept out of `repr` and `to_json`, as names identify.
        output: the name under the target folder, or `None` where nothing was written.
        format: the handler's name.
        changed: how often an attribute was removed, emptied, replaced, shifted or cleaned:
            "keyword: action" to a count. Never a value.
        unchecked: what nobody looked at, such as text burned into the pixels.
        refused: why nothing was written, or `None`.

    Example:
        >>> FileReport(Path("bob.dcm"), "a.dcm", "dicom").output
        'a.dcm'
    """

    source: Path = field(repr=False)
    output: str | None
    format: str
    changed: Counter[str] = field(default_factory=Counter)
    unchecked: list[str] = field(default_factory=list)
    refused: str | None = None

    def note(self, attribute: str, action: str) -> None:
        """Count an action on an attribute."""
        self.changed[f"{attribute}: {action}"] += 1

    def not_checked(self, what: str) -> None:
        """Say that something was not looked at."""
        if what not in self.unchecked:
            self.unchecked.append(what)


@dataclass
class Report:
    """What was done to all files.

    Attributes:
        files: one entry a file of the source.

    Example:
        >>> Report([]).to_json()
        {'written': 0, 'refused': [], 'changed': {}, 'unchecked': {}}
    """

    files: list[FileReport]

    def __iter__(self) -> Iterator[FileReport]:
        return iter(self.files)

    @property
    def refused(self) -> list[FileReport]:
        """The files of which nothing was written."""
        return [file for file in self.files if file.refused is not None]

    def to_json(self) -> dict[str, Any]:
        """Return the sums as plain values, without a name or a value of the source."""
        changed: Counter[str] = Counter()
        unchecked: Counter[str] = Counter()
        for file in self.files:
            changed.update(file.changed)
            unchecked.update(file.unchecked)
        return {
            "written": sum(file.output is not None for file in self.files),
            "refused": [f"{file.format}: {file.refused}" for file in self.refused],
            "changed": dict(sorted(changed.items())),
            "unchecked": dict(sorted(unchecked.items())),
        }
