"""From a function's signature to ports, JSON Schema and values.

Positional parameters are input ports, keyword-only ones are parameters, the return annotation is
the output port (or a NamedTuple of several). Everything that forms, documents, help and the command
line need to know about an operation is read here, once.
`tests/frontend/operations/test_signature.py` holds the mapping.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from deephealth.errors import DeepHealthError
from deephealth.operations.ports import Context, Port, Range, Reads, Writes


class _Required:
    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED = _Required()


@dataclass(frozen=True)
class Input:
    """An input port of an operation; an optional one may stay unconnected.

    >>> Input(Port("word", str, "a word"), optional=True).port.name
    'word'
    """

    port: Port
    optional: bool = False


@dataclass(frozen=True)
class Parameter:
    """A keyword of an operation: its type as written, its help, and its default or `REQUIRED`.

    >>> Parameter(int, "how often").schema
    {'type': 'integer', 'description': 'how often'}
    """

    annotation: Any
    help: str
    default: Any = REQUIRED

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of its values.

        >>> Parameter(bool, "whether", False).schema["default"]
        False
        """
        endings = f" ({' or '.join(self.mark.endings)})" if isinstance(self.mark, Writes) else ""
        schema = schema_of(self.annotation) | {"description": f"{self.help}{endings}"}
        if self.default is not REQUIRED:
            schema["default"] = _plain(self.default)
        return schema

    @property
    def mark(self) -> Reads | Writes | None:
        """Whether this is a path that is read or written.

        >>> from deephealth.operations.ports import InputPath
        >>> Parameter(InputPath, "a scan").mark
        Reads()
        """
        parts = _members(self.annotation) if _is_optional(self.annotation) else [self.annotation]
        for part in [self.annotation, *parts]:
            for mark in _marks(part):
                if isinstance(mark, Reads | Writes):
                    return mark
        return None


@dataclass(frozen=True)
class Signature:
    """The ports and parameters of an operation, and whether it takes the context of the run.

    >>> read(lambda: None).inputs
    {}
    """

    inputs: dict[str, Input]
    outputs: dict[str, Port]
    parameters: dict[str, Parameter]
    context: str | None


def read(function: Callable[..., Any]) -> Signature:
    """Read the signature of an operation's function.

    >>> def scale(*, factor: Annotated[float, Range(0), "the factor"] = 1.0) -> None: ...
    >>> read(scale).parameters["factor"].schema == {
    ...     "type": "number", "minimum": 0, "description": "the factor", "default": 1.0}
    True
    """
    hints = get_type_hints(function, include_extras=True)
    inputs: dict[str, Input] = {}
    parameters: dict[str, Parameter] = {}
    context = None
    for name, parameter in inspect.signature(function).parameters.items():
        annotation = hints.get(name)
        if annotation is Context:
            context = name
        elif parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            default = REQUIRED if parameter.default is parameter.empty else parameter.default
            parameters[name] = Parameter(annotation, _help(annotation), default)
        else:
            port = _port(annotation)
            if port is None:
                raise TypeError(f"{function.__name__}({name}) is not annotated with a port")
            inputs[name] = Input(port, optional=parameter.default is not parameter.empty)
    return Signature(inputs, _outputs(function, hints.get("return")), parameters, context)


def schema_of(annotation: Any) -> dict[str, Any]:
    """The JSON Schema of a parameter's annotation.

    >>> schema_of(list[int]), schema_of(Literal["a", "b"])
    ({'type': 'array', 'items': {'type': 'integer'}}, {'enum': ['a', 'b']})
    """
    base, origin, arguments = _base(annotation)
    schema: dict[str, Any]
    if _is_optional(base):
        members = [schema_of(member) for member in _members(base)]
        schema = {"anyOf": [*members, {"type": "null"}]}
    elif origin is Literal:
        schema = {"enum": list(arguments)}
    elif origin is list:
        schema = {"type": "array", "items": schema_of(arguments[0])}
    elif origin is tuple:
        schema = {
            "type": "array",
            "prefixItems": [schema_of(member) for member in arguments],
            "items": False,
            "minItems": len(arguments),
        }
    elif origin is dict:
        schema = {"type": "object", "additionalProperties": schema_of(arguments[1])}
    elif base is Path:
        schema = {"type": "string", "format": "path", "minLength": 1}
    elif base is Any:
        schema = {}
    elif base in _SCALARS:
        schema = {"type": _SCALARS[base]}
    else:
        raise TypeError(f"no JSON Schema for the annotation {annotation!r}")
    for mark in _marks(annotation):
        if isinstance(mark, Range):
            limits: dict[str, Any] = {"minimum": mark.minimum, "maximum": mark.maximum}
            schema |= {name: limit for name, limit in limits.items() if limit is not None}
        if isinstance(mark, Writes) and mark.endings:
            schema["pattern"] = f"({'|'.join(map(re.escape, mark.endings))})$"
    return schema


def convert(annotation: Any, value: Any) -> Any:
    """`value`, plain data or text from a form, as the type that the annotation says.

    >>> convert(int, "12"), convert(tuple[float, float], [1, "2.5"]), convert(bool, "false")
    (12, (1.0, 2.5), False)
    """
    base, origin, arguments = _base(annotation)
    if _is_optional(base):
        return None if value is None else convert(_members(base)[0], value)
    if origin is list and isinstance(value, list | tuple):
        return [convert(arguments[0], member) for member in value]
    if origin is tuple and isinstance(value, list | tuple) and len(value) == len(arguments):
        return tuple(map(convert, arguments, value))
    if origin is dict and isinstance(value, dict):
        return {name: convert(arguments[1], member) for name, member in value.items()}
    if origin is Literal:
        found = [choice for choice in arguments if value == choice or str(choice) == value]
        if found:
            return found[0]
        raise DeepHealthError(
            f"received {value!r}, expected one of {', '.join(map(str, arguments))}"
        )
    if base is Path and isinstance(value, str | Path):
        return Path(value)
    if base is Any:
        return value
    if base in _FROM_TEXT:
        return _scalar(base, value)
    raise DeepHealthError(f"received {value!r}, expected {_say(base)}")


_SCALARS = {int: "integer", float: "number", bool: "boolean", str: "string"}
_FROM_TEXT: dict[Any, re.Pattern[str]] = {
    int: re.compile(r"\s*[-+]?\d+\s*"),
    float: re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*"),
    bool: re.compile(r"true|false"),
    str: re.compile(r".*", re.DOTALL),
}


def _scalar(base: Any, value: Any) -> Any:
    if isinstance(value, str) and _FROM_TEXT[base].fullmatch(value):
        return value == "true" if base is bool else base(value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if base is bool and isinstance(value, bool):
        return value
    if base is float and number:
        return float(value)
    if base is int and number and float(value).is_integer():
        return int(value)
    raise DeepHealthError(f"received {value!r}, expected {_say(base)}")


def _say(base: Any) -> str:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    return words.get(base, "a path" if base is Path else str(base))


def _base(annotation: Any) -> tuple[Any, Any, tuple[Any, ...]]:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation, get_origin(annotation), get_args(annotation)


def _marks(annotation: Any) -> tuple[Any, ...]:
    return tuple(getattr(annotation, "__metadata__", ()))


def _is_optional(annotation: Any) -> bool:
    _, origin, arguments = _base(annotation)
    return origin in (Union, types.UnionType) and type(None) in arguments


def _members(annotation: Any) -> list[Any]:
    return [member for member in _base(annotation)[2] if member is not type(None)]


def _port(annotation: Any) -> Port | None:
    parts = _members(annotation) if _is_optional(annotation) else [annotation]
    return next((mark for part in parts for mark in _marks(part) if isinstance(mark, Port)), None)


def _help(annotation: Any) -> str:
    return next((mark for mark in _marks(annotation) if isinstance(mark, str)), "")


def _outputs(function: Callable[..., Any], annotation: Any) -> dict[str, Port]:
    if annotation is None or annotation is type(None):
        return {}
    port = _port(annotation)
    if port is not None:
        return {port.name: port}
    fields = get_type_hints(annotation, include_extras=True)
    outputs = {name: _port(hint) for name, hint in fields.items()}
    if not hasattr(annotation, "_fields") or None in outputs.values():
        raise TypeError(f"{function.__name__} returns neither a port nor a NamedTuple of ports")
    return {name: port for name, port in outputs.items() if port is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(member) for member in value]
    return str(value) if isinstance(value, Path) else value
