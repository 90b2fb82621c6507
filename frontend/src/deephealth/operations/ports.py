"""What an operation's signature is made of: ports for data, marks for parameters, and the context.

A port is a type that travels between boxes. It knows how to take in what people have at hand (a
*plug*: a path, an array), how to write itself out for them (a *constructor*: a NIfTI file), and,
where that pays, how to be kept in the cache of a run. A parameter is an ordinary annotated keyword,
with `Range`, `Reads` or `Writes` and a help text as further annotations. Nothing here knows ecvl or
eddl.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tqdm import tqdm

from deephealth.errors import DeepHealthError, in_one_line


@dataclass(frozen=True)
class Port:
    """A type of data that travels along an edge of a pipeline.

    Args:
        name: what documents, help and error messages call it.
        holds: the Python type of its values.
        help: one line for people.
        plug: makes a value from something else (a path, an array), or raises.
        constructor: writes a value to a path whose name ends in one of `endings`.
        endings: the endings the constructor writes.
        save, load: keep a value in a folder of the cache and get it back, exactly.
        fingerprint: a hash of a value's content, where that is known more cheaply or more truly
        than
            from the steps that made it.

    >>> number = Port("number", float, "a number", plug=float)
    >>> number.accept("3.5")
    3.5
    """

    name: str
    holds: type | tuple[type, ...]
    help: str
    plug: Callable[[Any], Any] | None = None
    constructor: Callable[[Any, Path], None] | None = None
    endings: tuple[str, ...] = ()
    save: Callable[[Any, Path], None] | None = None
    load: Callable[[Path], Any] | None = None
    fingerprint: Callable[[Any], str] | None = None

    def accept(self, value: Any) -> Any:
        """The value itself when it is of this port, else what the plug makes of it.

        >>> Port("word", str, "a word").accept(3)
        Traceback (most recent call last):
        deephealth.errors.DeepHealthError: received int where word is expected (a word)
        """
        if isinstance(value, self.holds):
            return value
        if self.plug is None:
            raise DeepHealthError(
                f"received {type(value).__name__} where {self.name} is expected ({self.help})"
            )
        return self.plug(value)

    def construct(self, value: Any, path: Path) -> None:
        """Write a value to a path, whose name must have one of the port's endings.

        >>> Port("word", str, "a word").construct("seen", Path("word.txt"))
        Traceback (most recent call last):
        deephealth.errors.DeepHealthError: word cannot be written to a file
        """
        if self.constructor is None:
            raise DeepHealthError(f"{self.name} cannot be written to a file")
        if not path.name.endswith(self.endings):
            endings = " or ".join(self.endings)
            raise DeepHealthError(f"received {path.name}, expected a name that ends in {endings}")
        self.constructor(value, path)

    @property
    def kept(self) -> bool:
        """Whether values of this port go into the cache of a run.

        >>> Port("word", str, "a word").kept
        False
        """
        return self.save is not None and self.load is not None


@dataclass(frozen=True)
class Range:
    """The least and the greatest value of a number, both allowed.

    >>> Range(minimum=1).maximum is None
    True
    """

    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class Reads:
    """Marks a path that is read: it resolves within the document's folder or the allowed roots.

    >>> Reads() == Reads()
    True
    """


@dataclass(frozen=True)
class Writes:
    """Marks a path that is written: it resolves within the run's output folder.

    `endings` are the endings that its name may have; none stands for any.

    >>> Writes(".nii", ".nii.gz").endings
    ('.nii', '.nii.gz')
    """

    endings: tuple[str, ...]

    def __init__(self, *endings: str) -> None:
        object.__setattr__(self, "endings", endings)


InputPath = Annotated[Path, Reads()]
Device = Annotated[Literal["cpu"], "where to compute"]


def _to_stderr(message: str) -> None:
    tqdm.write(f"warning: {in_one_line(message)}", file=sys.stderr)


@dataclass
class Context:
    """What an operation may use of the run it is part of.

    `folder` is a place that survives an interruption of this very step (None outside a run), `warn`
    tells people one line, `facts` are plain data about the run for a report.

    >>> with Context().progress(2, "reading") as advance:
    ...     advance(2)
    """

    folder: Path | None = None
    warn: Callable[[str], None] = _to_stderr
    facts: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def progress(
        self, total: int, what: str, unit: str = "step", done: int = 0
    ) -> Iterator[Callable[[int], None]]:
        """A progress bar on a terminal's stderr; calling what it gives moves it on.

        >>> with Context().progress(10, "training") as advance:
        ...     advance(1)
        """
        with tqdm(
            total=total,
            desc=what,
            unit=unit,
            unit_scale=unit == "B",
            initial=done,
            disable=None,
            leave=False,
            file=sys.stderr,
        ) as bar:

            def advance(steps: int) -> None:
                bar.update(steps)

            yield advance
