"""Plain data: YAML and JSON read with limits, canonical JSON, and its hash.

A document is untrusted: it is at most one mebibyte, is made of JSON's six types only, names no key
twice, nests at most 50 levels, and its YAML aliases may not unfold to more than 20,000 values.
Plain scalars follow YAML 1.2's core schema, so ``1e-3`` is a number and ``no`` is a word.
`tests/frontend/test_plain.py` holds these limits.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import yaml

from deephealth.errors import DocumentError

MOST_BYTES = 1 << 20
MOST_LEVELS = 50
MOST_VALUES = 20_000

_INTEGER = re.compile(r"[-+]?[0-9]+")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def read(path: Path) -> Any:
    """The content of a ``.json``, ``.yml`` or ``.yaml`` file as plain data.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "document.yml"
    ...     _ = path.write_text("epochs: 40\\nrate: 1e-3")
    ...     read(path)
    {'epochs': 40, 'rate': 0.001}
    """
    if path.suffix.lower() not in (".json", ".yml", ".yaml"):
        raise DocumentError(
            f"{path} is not a document: expected a name that ends in .yml, .yaml or .json"
        )
    try:
        with open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise DocumentError(f"{path} cannot be read: {error.strerror}; check the name") from error
    try:
        return parse(content, "json" if path.suffix.lower() == ".json" else "yaml")
    except DocumentError as error:
        raise DocumentError(f"{path}: {error}") from error


def parse(content: bytes | str, form: str = "yaml") -> Any:
    """Plain data from YAML or JSON text, within this module's limits.

    >>> parse("[1, 0.5, yes, null, 'a']")
    [1, 0.5, 'yes', None, 'a']
    >>> parse("{a: 1, a: 2}")
    Traceback (most recent call last):
    deephealth.errors.DocumentError: line 1: the key 'a' stands twice; name it once
    """
    if len(content) > MOST_BYTES:
        raise DocumentError(f"the document is larger than {MOST_BYTES:,} bytes; shorten it")
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
    except UnicodeDecodeError as error:
        raise DocumentError(f"the document is not UTF-8 text (byte {error.start})") from error
    try:
        return _from_json(text) if form == "json" else _from_yaml(text)
    except RecursionError as error:
        raise DocumentError(f"the document nests deeper than {MOST_LEVELS} levels") from error


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: the same text for the same plain data.

    >>> canonical({"b": 1, "a": [1.5, None]})
    '{"a":[1.5,null],"b":1}'
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest(value: Any) -> str:
    """The SHA-256 of the canonical JSON, in hexadecimal.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def _from_json(text: str) -> Any:
    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key, value in found:
            if key in mapping:
                raise DocumentError(f"the key {key!r} stands twice; name it once")
            mapping[key] = value
        return mapping

    def constant(name: str) -> Any:
        raise DocumentError(f"{name} is not a number of JSON; write a finite number")

    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    except json.JSONDecodeError as error:
        raise DocumentError(f"line {error.lineno}: not JSON ({error.msg})") from error
    except ValueError as error:
        raise DocumentError(f"not JSON ({error})") from error
    _limit_levels(value, 0)
    return value


def _limit_levels(value: Any, level: int) -> None:
    if level > MOST_LEVELS:
        raise DocumentError(f"the document nests deeper than {MOST_LEVELS} levels")
    if isinstance(value, float) and not math.isfinite(value):
        raise DocumentError("a number is too large; write a finite number")
    members = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict | list):
        for member in members:
            _limit_levels(member, level + 1)


def _from_yaml(text: str) -> Any:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        reason = getattr(error, "problem", None) or "unreadable text"
        raise DocumentError(f"{where}not YAML ({reason})") from error
    return None if node is None else _Builder().build(node, 0)


class _Builder:
    """Plain data from YAML's nodes; an alias is unfolded each time and counted each time."""

    def __init__(self) -> None:
        self.values = 0

    def build(self, node: yaml.Node, level: int) -> Any:
        line = node.start_mark.line + 1
        self.values += 1
        if self.values > MOST_VALUES:
            raise DocumentError(f"line {line}: the document unfolds to over {MOST_VALUES:,} values")
        if level > MOST_LEVELS:
            raise DocumentError(f"line {line}: the document nests deeper than {MOST_LEVELS} levels")
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node, line)
        if isinstance(node, yaml.SequenceNode):
            _expect_tag(node, "tag:yaml.org,2002:seq", line)
            return [self.build(member, level + 1) for member in node.value]
        _expect_tag(node, "tag:yaml.org,2002:map", line)
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self.build(key_node, level + 1)
            if not isinstance(key, str):
                raise DocumentError(f"line {line}: the key {key!r} is not a word; quote it")
            if key in mapping:
                raise DocumentError(f"line {line}: the key {key!r} stands twice; name it once")
            mapping[key] = self.build(value_node, level + 1)
        return mapping


def _expect_tag(node: yaml.Node, tag: str, line: int) -> None:
    if node.tag != tag:
        raise DocumentError(f"line {line}: the tag {node.tag} is not allowed; use plain values")


def _scalar(node: yaml.ScalarNode, line: int) -> Any:
    text: str = node.value
    if node.style is not None:
        _expect_tag(node, "tag:yaml.org,2002:str", line)
        return text
    if node.tag.startswith("!") or "python" in node.tag:
        raise DocumentError(f"line {line}: the tag {node.tag} is not allowed; use plain values")
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text) and len(text) < 20:
        return int(text)
    if _NUMBER.fullmatch(text):
        number = float(text)
        if not math.isfinite(number):
            raise DocumentError(f"line {line}: the number {text} is too large")
        return number
    return text
