"""Small frozen dataclasses as JSON and back: `{"op": name, field: value, ...}`, strictly checked.

Used by `ecvl.Steps` and `ecvl.augment`. Nothing but the classes of a given table can be named.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from ecvl.errors import EcvlError, ParameterError

Made = TypeVar("Made")


def to_entry(thing: Any) -> dict[str, Any]:
    """Return a dataclass object as a JSON object of its name and fields; tuples become lists.

    Example:
        >>> from ecvl.steps import Reorient
        >>> to_entry(Reorient("RAS"))
        {'op': 'Reorient', 'orientation': 'RAS'}
    """
    entry: dict[str, Any] = {"op": type(thing).__name__}
    for field in dataclasses.fields(thing):
        entry[field.name] = _listed(getattr(thing, field.name))
    return entry


def from_entry(entry: Any, table: Mapping[str, type[Made]], what: str) -> Made:
    """Return the object that a JSON object describes.

    Args:
        entry: an object with "op" and fields.
        table: the only classes that may be named.
        what: a word for messages, such as "step".

    Raises:
        ParameterError: it is no such object, or names an unknown class or field.

    Example:
        >>> from ecvl.steps import Reorient
        >>> from_entry({"op": "Reorient", "orientation": "LPS"}, {"Reorient": Reorient}, "step")
        Reorient(orientation='LPS')
    """
    if not isinstance(entry, Mapping) or not isinstance(entry.get("op"), str):
        raise ParameterError(
            f"expected a {what} as an object with 'op', received {type(entry).__name__}"
        )
    name = entry["op"]
    if name not in table:
        raise ParameterError(
            f"expected a {what} among {', '.join(sorted(table))}, received {name!r}; a newer "
            "version of ecvl may know it"
        )
    cls = table[name]
    fields: Any = dataclasses.fields(cls)  # type: ignore[arg-type]
    known = {field.name for field in fields}
    given = {key: value for key, value in entry.items() if key != "op"}
    if unknown := sorted(map(str, given.keys() - known)):
        raise ParameterError(
            f"the {what} {name} takes {', '.join(sorted(known))}, received {', '.join(unknown)}"
        )
    try:
        return cls(**{key: _tupled(value) for key, value in given.items()})
    except EcvlError as error:
        raise ParameterError(f"{what} {name}: {error}") from None
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ParameterError(f"the {what} {name} is not complete or not valid: {error}") from None


def checked_pair(
    value: Any, name: str, least: float | None = None, most: float | None = None
) -> tuple[float, float]:
    """Return a range as (low, high); one number stands for both.

    Raises:
        ParameterError: it is no such range, or reaches below `least` or above `most`.

    Example:
        >>> checked_pair(3, "sigma"), checked_pair([-1, 1], "sigma")
        ((3.0, 3.0), (-1.0, 1.0))
    """
    ends = value if isinstance(value, tuple | list) else (value, value)
    if (
        len(ends) != 2
        or not all(is_number(end) for end in ends)
        or not ends[0] <= ends[1]
        or (least is not None and ends[0] < least)
        or (most is not None and ends[1] > most)
    ):
        bound = "" if least is None else f" of at least {least}"
        bound += "" if most is None else f" and at most {most}"
        raise ParameterError(
            f"expected {name} as a number or a range (low, high){bound}, received {value!r}"
        )
    return float(ends[0]), float(ends[1])


def is_number(value: Any) -> bool:
    """Whether a value is a finite number and not a truth value.

    Example:
        >>> is_number(1.5), is_number(True), is_number(float("nan"))
        (True, False, False)
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _listed(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_listed(entry) for entry in value]
    return value


def _tupled(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(_tupled(entry) for entry in value)
    return value
