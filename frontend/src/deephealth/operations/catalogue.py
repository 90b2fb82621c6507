"""The catalogue: every operation as a typed box with ports, parameters and help.

An operation is a Python function registered once with `operation(...)`. Its JSON Schema, its help
and its command line follow from its signature. Running it gives a `Result`; whatever the function
raises becomes a reason in plain words. `tests/frontend/operations/test_catalogue.py` runs the same
contract over every registered operation.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from deephealth import plain
from deephealth.errors import DeepHealthError, in_one_line
from deephealth.operations import signature
from deephealth.operations.ports import Context, Port
from deephealth.operations.signature import REQUIRED, Input, Parameter
from deephealth.result import Result

Function = TypeVar("Function", bound=Callable[..., Any])

_OUR_WORDS = ("deephealth", "ecvl", "eddl")


@dataclass(frozen=True)
class Operation:
    """A registered function and what its signature says.

    `version` counts changes of what it computes: raising it makes cached results of older versions
    unused. `cached` is False where running it is the point (fetching, writing).

    >>> from typing import Annotated
    >>> def repeat(*, word: Annotated[str, "the word"], times: Annotated[int, "how often"] = 2): ...
    >>> read = signature.read(repeat)
    >>> one = Operation("repeat", "say a word again", repeat, *vars(read).values())
    >>> print(one.usage)
    repeat: say a word again
      set  word (required): the word
      set  times (default 2): how often
    >>> one.schema["required"], list(one.schema["properties"])
    (['word'], ['word', 'times'])
    >>> one.run(parameters={"times": 3}).reason
    "repeat: the parameter 'word' is missing: the word"
    """

    name: str
    help: str
    function: Callable[..., Any]
    inputs: dict[str, Input]
    outputs: dict[str, Port]
    parameters: dict[str, Parameter]
    context: str | None
    version: int = 1
    cached: bool = True

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the parameters, for forms and for checking documents."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": self.name,
            "description": self.help,
            "type": "object",
            "properties": {name: one.schema for name, one in self.parameters.items()},
            "required": [name for name, one in self.parameters.items() if one.default is REQUIRED],
            "additionalProperties": False,
        }

    @property
    def usage(self) -> str:
        """Help for people: what it does, its ports and its parameters, a line each."""
        lines = [f"{self.name}: {self.help}"]
        for name, given in self.inputs.items():
            optional = ", optional" if given.optional else ""
            lines.append(f"  in   {name} ({given.port.name}{optional}): {given.port.help}")
        for name, port in self.outputs.items():
            lines.append(f"  out  {name} ({port.name}): {port.help}")
        for name, one in self.parameters.items():
            default = "required" if one.default is REQUIRED else f"default {one.default!r}"
            lines.append(f"  set  {name} ({default}): {one.help}")
        return "\n".join(lines)

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the operation's command line to a parser: an option a port and parameter."""
        for name, given in self.inputs.items():
            help = f"{given.port.help} ({given.port.name})"
            required = not given.optional
            parser.add_argument(_flag(name), dest=f"in_{name}", required=required, help=help)
        for name, one in self.parameters.items():
            required = one.default is REQUIRED
            help = one.help if required else f"{one.help} (default: {one.default})"
            help = help.replace("%", "%%")
            parser.add_argument(_flag(name), dest=f"set_{name}", required=required, help=help)
        for name, port in self.outputs.items():
            if port.constructor is not None:
                help = f"where to write {port.help} ({' or '.join(port.endings)})"
                parser.add_argument(
                    f"--out-{name.replace('_', '-')}", dest=f"out_{name}", help=help
                )

    def from_arguments(
        self, options: argparse.Namespace
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Path]]:
        """Inputs, parameters and paths of outputs from parsed options of `add_arguments`.

        Lists and mappings are written as YAML.
        """
        given = {name: value for name, value in vars(options).items() if value is not None}
        inputs = {name: given[f"in_{name}"] for name in self.inputs if f"in_{name}" in given}
        parameters = {}
        for name, one in self.parameters.items():
            if f"set_{name}" in given:
                text = given[f"set_{name}"]
                compound = one.schema.get("type") in ("array", "object")
                parameters[name] = plain.parse(text) if compound else text
        outputs = {
            name: Path(given[f"out_{name}"]) for name in self.outputs if f"out_{name}" in given
        }
        return inputs, parameters, outputs

    def run(
        self,
        inputs: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        context: Context | None = None,
    ) -> Result[dict[str, Any]]:
        """Run the function; the value is its outputs by port, a failure says why in plain words."""
        try:
            arguments = self._arguments(inputs or {}, parameters or {})
            if self.context is not None:
                arguments[self.context] = context or Context()
            returned = self.function(**arguments)
        except Exception as error:
            return Result.failure(f"{self.name}: {reason_of(error)}", error)
        if not self.outputs:
            return Result.success({})
        several = hasattr(returned, "_fields")
        return Result.success(
            dict(zip(self.outputs, returned if several else [returned], strict=True))
        )

    def _arguments(
        self, inputs: Mapping[str, Any], parameters: Mapping[str, Any]
    ) -> dict[str, Any]:
        for name in [*inputs, *parameters]:
            if name not in self.inputs and name not in self.parameters:
                known = [*self.inputs, *self.parameters]
                raise DeepHealthError(f"has no {name!r}; {suggest(name, known)}")
        arguments: dict[str, Any] = {}
        for name, given in self.inputs.items():
            if name in inputs:
                try:
                    arguments[name] = given.port.accept(inputs[name])
                except DeepHealthError as error:
                    raise DeepHealthError(f"{name}: {error}") from error
            elif not given.optional:
                raise DeepHealthError(
                    f"the input {name!r} ({given.port.name}) is missing; connect it"
                )
        for name, one in self.parameters.items():
            if name in parameters:
                try:
                    arguments[name] = signature.convert(one.annotation, parameters[name])
                except DeepHealthError as error:
                    raise DeepHealthError(f"{name}: {error}") from error
            elif one.default is REQUIRED:
                raise DeepHealthError(f"the parameter {name!r} is missing: {one.help}")
        return arguments


class Catalogue:
    """Operations by name.

    >>> catalogue = Catalogue()
    >>> @catalogue.operation("nothing", help="does nothing")
    ... def nothing() -> None: ...
    >>> catalogue["nothing"].run().ok
    True
    """

    def __init__(self) -> None:
        self._operations: dict[str, Operation] = {}

    def operation(
        self, name: str, *, help: str, version: int = 1, cached: bool = True
    ) -> Callable[[Function], Function]:
        """Register the decorated function under `name`, and give it back unchanged.

        >>> catalogue = Catalogue()
        >>> function = catalogue.operation("nothing", help="does nothing")(lambda: None)
        >>> list(catalogue)
        ['nothing']
        """

        def register(function: Function) -> Function:
            if name in self._operations:
                raise ValueError(f"the operation {name!r} is registered twice; choose another name")
            read = signature.read(function)
            self._operations[name] = Operation(
                name,
                help,
                function,
                read.inputs,
                read.outputs,
                read.parameters,
                read.context,
                version,
                cached,
            )
            return function

        return register

    def __getitem__(self, name: str) -> Operation:
        if name not in self._operations:
            raise DeepHealthError(f"unknown operation {name!r}; {suggest(name, list(self))}")
        return self._operations[name]

    def __contains__(self, name: object) -> bool:
        return name in self._operations

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._operations))


CATALOGUE = Catalogue()
operation = CATALOGUE.operation


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def suggest(name: str, known: list[str]) -> str:
    """What a wrong name may have meant.

    >>> suggest("read_imag", ["read_image", "write_labels"])
    'did you mean read_image?'
    """
    close = difflib.get_close_matches(str(name), known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"choose one of {', '.join(known)}" if known else "there is none to choose"


def reason_of(error: BaseException) -> str:
    """An exception in plain words: its own if it is the toolkit's, with its type otherwise.

    >>> reason_of(DeepHealthError("the folder is empty"))
    'the folder is empty'
    >>> reason_of(KeyError("x"))
    "unexpected KeyError: 'x'"
    """
    if _is_ours(error):
        return in_one_line(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return in_one_line(f"{where}{error.strerror or error}")
    if isinstance(error, MemoryError):
        return "there is not enough memory; choose a coarser spacing or a smaller batch"
    return in_one_line(f"unexpected {type(error).__name__}: {error}")


def is_expected(error: BaseException) -> bool:
    """Whether an exception is about what was given, and not a fault of the toolkit.

    >>> is_expected(DeepHealthError("no scan")), is_expected(KeyError("x"))
    (True, False)
    """
    return _is_ours(error) or isinstance(error, OSError | MemoryError)


def _is_ours(error: BaseException) -> bool:
    return any(kind.__module__.split(".")[0] in _OUR_WORDS for kind in type(error).__mro__)
