"""The pipeline document: reading it, its hash, and its parameters.

``parameters:`` declares what may be set from outside, each with a type, a default and a help text.
A step refers to one by writing ``$name`` as the whole of a value; ``$$`` at the start of a text
stands for a dollar sign. There is no other syntax: nothing is computed inside a document.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from deephealth import plain
from deephealth.errors import DeepHealthError, DocumentError
from deephealth.operations.catalogue import suggest
from deephealth.operations.signature import convert

_TYPES: dict[str, Any] = {
    "integer": int,
    "number": float,
    "boolean": bool,
    "string": str,
    "path": Path,
}


@dataclass(frozen=True)
class Document:
    """A document's plain data, the folder that its paths are relative to, and chosen parameters.

    >>> document = Document({"schema": "deephealth/pipeline/v1", "steps": []}, Path("."))
    >>> document.hash == Document({**document.data, "ui": {"zoom": 2}}, Path(".")).hash
    True
    """

    data: Any
    folder: Path
    chosen: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """What people call the pipeline."""
        return str(self.data.get("name", "a pipeline"))

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The steps as written, references to parameters included."""
        return list(self.data["steps"])

    @property
    def hash(self) -> str:
        """The SHA-256 of everything that matters to a run: the document without ``ui``."""
        return plain.digest({name: part for name, part in self.data.items() if name != "ui"})

    @property
    def declared(self) -> dict[str, dict[str, Any]]:
        """The declared parameters by name."""
        return dict(self.data.get("parameters", {}))

    @property
    def parameters(self) -> dict[str, Any]:
        """The value of each declared parameter: chosen, else its default; absent when it has none.

        >>> Document({"parameters": {"epochs": {"type": "integer", "default": 40}}}, Path(".")).set(
        ...     epochs="3").parameters
        {'epochs': 3}
        """
        defaults = {
            name: spec["default"] for name, spec in self.declared.items() if "default" in spec
        }
        return defaults | dict(self.chosen or {})

    def set(self, **values: Any) -> Document:
        """This document with parameters chosen; text is converted to the declared type.

        >>> Document({"parameters": {}}, Path(".")).set(epoch=3)
        Traceback (most recent call last):
        deephealth.errors.DocumentError: the document has no parameter 'epoch'; there is none to
        choose
        """
        chosen = dict(self.chosen or {})
        for name, value in values.items():
            if name not in self.declared:
                hint = suggest(name, list(self.declared))
                raise DocumentError(f"the document has no parameter {name!r}; {hint}")
            if value is None and self.declared[name].get("default", "") is None:
                chosen[name] = None
                continue
            try:
                given = convert(_TYPES[self.declared[name]["type"]], value)
            except DeepHealthError as error:
                raise DocumentError(f"the parameter {name}: {error}") from error
            chosen[name] = str(given) if isinstance(given, Path) else given
        return replace(self, chosen=chosen)


def load(path: str | Path) -> Document:
    """Read a document from a ``.yml``, ``.yaml`` or ``.json`` file.

    >>> load("missing.yml")
    Traceback (most recent call last):
    deephealth.errors.DocumentError: missing.yml cannot be read: No such file or directory; ...
    """
    return Document(plain.read(Path(path)), Path(path).resolve().parent)


def load_builtin(name: str) -> Document:
    """A document that comes with the toolkit.

    >>> load_builtin("predict").name
    'Predict labels'
    """
    text = resources.files("deephealth.pipelines.builtin").joinpath(f"{name}.yml").read_bytes()
    return Document(plain.parse(text), Path.cwd())


def referred(value: Any) -> str | None:
    """The name of the parameter that a value refers to, None for an ordinary value.

    >>> referred("$epochs"), referred("$$epochs"), referred(3)
    ('epochs', None, None)
    """
    if isinstance(value, str) and value.startswith("$") and not value.startswith("$$"):
        return value[1:]
    return None


def filled(value: Any, parameters: Mapping[str, Any]) -> Any:
    """`value` with every reference replaced by the parameter's value, at any depth.

    >>> filled({"epochs": "$epochs", "price": "$$5"}, {"epochs": 3})
    {'epochs': 3, 'price': '$5'}
    """
    name = referred(value)
    if name is not None:
        if name not in parameters:
            raise DocumentError(f"the parameter {name!r} has no value; set it")
        return parameters[name]
    if isinstance(value, str):
        return value[1:] if value.startswith("$$") else value
    if isinstance(value, dict):
        return {key: filled(member, parameters) for key, member in value.items()}
    if isinstance(value, list):
        return [filled(member, parameters) for member in value]
    return value
