"""The specification's text form of augmentations, read and written.

```
SequentialAugmentationContainer
    AugRotate angle=[-5,5] center=(0,0) interp="linear"
    AugAdditiveLaplaceNoise std_dev=[0,0.51]
    OneOfAugmentationContainer p=0.5
        AugMirror p=0.5
        AugCoarseDropout p=[0,0.55] drop_size=[0.02,0.1] per_channel=0
    end
end
```

A value is a range `[min,max]`, a vector `(a,b,...)`, a number or a `"string"`. Amounts that the
specification counts in 8-bit levels are parts of the value range here: `std_dev=0.51` is a
deviation of 0.51 / 255. Sizes and centres are written x before y. Whatever has no name in the
specification is written as `Aug` with the class's name and fields, so that every augmentation has a
text form, and reading it gives the same object.

Held by `tests/ecvl/augment/test_text.py` and the contract tests.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, localcontext
from typing import Any, NamedTuple

from ecvl.augment.base import Augmentation, Operation
from ecvl.augment.sequence import DEEPEST, OneOf, Sequential, SomeOf
from ecvl.augment.table import AUGMENTATIONS
from ecvl.errors import ParameterError
from ecvl.serial import from_entry

LEVELS = Decimal(255)
LONGEST = 1 << 20
CONTAINERS = {
    "SequentialAugmentationContainer": Sequential,
    "OneOfAugmentationContainer": OneOf,
    "SomeOfAugmentationContainer": SomeOf,
}
TOKEN = re.compile(
    r"""\s*(?:
        (?P<name>[A-Za-z_]\w*)\s*(?P<equals>=)?
      | (?P<open>[\[(]) (?P<list>[^\[\]()]*) (?P<close>[\])])
      | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | "(?P<string>[^"]*)"
    )""",
    re.VERBOSE,
)


class Spelling(NamedTuple):
    """How a class is written.

    Attributes:
        name: after "Aug".
        fields: the specification's names of fields.
        levels: the fields that the specification counts in 8-bit levels.
        reversed: the fields that are written x before y.
        defaults: fields that have another default in the specification.
        fixed: further parameters, and the values that they may have.
    """

    name: str
    fields: Mapping[str, str] = {}
    levels: tuple[str, ...] = ()
    reversed: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = {}
    fixed: Mapping[str, tuple[Any, ...]] = {}


INTERPOLATED: dict[str, tuple[Any, ...]] = {"interp": ("linear",), "gt_interp": ("nearest",)}
# A constant border has the fill's value; without one it is the low end of the range.
BORDERED = INTERPOLATED | {"border_type": ("constant",)}
CROPPED: dict[str, tuple[Any, ...]] = {"border_type": ("constant",)}
AMOUNT = {"amount": "p", "p": "probability"}
DEVIATION = {"deviation": "std_dev"}
SPELLINGS = {
    "AdditiveGaussianNoise": Spelling("AdditiveGaussianNoise", DEVIATION, ("deviation",)),
    "AdditiveLaplaceNoise": Spelling("AdditiveLaplaceNoise", DEVIATION, ("deviation",)),
    "AdditivePoissonNoise": Spelling("AdditivePoissonNoise", {"rate": "lambda"}),
    "Brightness": Spelling("Brightness", {"value": "beta"}, ("value",)),
    "CentreCrop": Spelling("CenterCrop", reversed=("size",)),
    "CoarseDropout": Spelling("CoarseDropout", AMOUNT | {"size": "drop_size"}),
    "CropByLabel": Spelling("CropByLabel", reversed=("size",)),
    "Dropout": Spelling("Dropout", AMOUNT),
    "Elastic": Spelling("ElasticTransform", {"fill": "border_value"}, fixed=BORDERED),
    "Flip": Spelling("Flip", defaults={"axes": "y"}),
    "GridDistortion": Spelling(
        "GridDistortion",
        {"steps": "num_steps", "limit": "distort_limit", "fill": "border_value"},
        fixed=BORDERED,
    ),
    "ImpulseNoise": Spelling("ImpulseNoise", AMOUNT),
    "OpticalDistortion": Spelling(
        "OpticalDistortion",
        {"k": "distort_limit", "shift": "shift_limit", "fill": "border_value"},
        fixed=BORDERED,
    ),
    "Pepper": Spelling("Pepper", AMOUNT),
    "RandomCrop": Spelling("RandomCrop", {"fill": "border_value"}, (), ("size",), fixed=CROPPED),
    "Rotate": Spelling(
        "Rotate",
        {"degrees": "angle", "centre": "center"},
        reversed=("centre",),
        fixed=INTERPOLATED | {"scale": (1,)},
    ),
    "Salt": Spelling("Salt", AMOUNT),
    "SaltAndPepper": Spelling("SaltAndPepper", AMOUNT),
}  # fmt: skip


def to_text(augmentation: Augmentation) -> str:
    """Return the text form of an augmentation, a line a step.

    Example:
        >>> from ecvl.augment import AdditiveLaplaceNoise, Mirror
        >>> print(to_text(Sequential([AdditiveLaplaceNoise((0, 0.002)), Mirror()])))
        SequentialAugmentationContainer
            AugAdditiveLaplaceNoise std_dev=[0,0.51]
            AugMirror
        end
    """
    return "\n".join(_lines(augmentation, ""))


def from_text(text: str) -> Augmentation:
    """Return the augmentation of a text form; several in a row are a `Sequential`.

    Raises:
        ParameterError: the text is not of this form, or names what does not exist.

    Example:
        >>> from_text("AugRotate angle=[-5,5]")
        Rotate(degrees=(-5.0, 5.0), axis='z', centre=None, fill=None, p=1.0)
    """
    if not isinstance(text, str) or len(text) > LONGEST:
        raise ParameterError(f"expected a text of at most {LONGEST:,} letters")
    reader = _Reader(text)
    found = reader.until_end(DEEPEST, closed=False)
    if not found:
        raise ParameterError("expected an augmentation, received an empty text")
    return found[0] if len(found) == 1 else Sequential(found)


class _Reader:
    """Names with their parameters, one after another."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def until_end(self, depth: int, closed: bool) -> list[Augmentation]:
        """Return augmentations up to `end`, or up to the end of the text."""
        found: list[Augmentation] = []
        while self._text[self._at :].strip():
            name = self._name()
            if name == "end":
                if not closed:
                    raise ParameterError("expected an augmentation, received 'end' of nothing")
                return found
            parameters = self._parameters()
            if name in CONTAINERS:
                if not depth:
                    raise ParameterError(f"expected containers at most {DEEPEST} deep")
                found.append(_container(name, parameters, self.until_end(depth - 1, closed=True)))
            else:
                found.append(_operation(name, parameters))
        if closed:
            raise ParameterError("expected 'end' after the steps of a container")
        return found

    def _token(self, what: str) -> re.Match[str]:
        match = TOKEN.match(self._text, self._at)
        if match is None:
            rest = self._text[self._at :].strip()[:30]
            raise ParameterError(f"expected {what}, received {rest!r}")
        self._at = match.end()
        return match

    def _name(self) -> str:
        match = self._token("the name of an augmentation")
        if match["name"] is None or match["equals"]:
            raise ParameterError(f"expected the name of an augmentation, received {match[0]!r}")
        return match["name"]

    def _parameters(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while True:
            match = TOKEN.match(self._text, self._at)
            if match is None or not match["equals"]:
                return found
            self._at = match.end()
            if match["name"] in found:
                raise ParameterError(
                    f"expected each parameter once, received {match['name']!r} twice"
                )
            found[match["name"]] = self._value(match["name"])

    def _value(self, name: str) -> Any:
        match = self._token(f"a value of {name}")
        if match["number"] is not None:
            return _number(match["number"], name)
        if match["string"] is not None:
            return match["string"]
        if match["open"] is not None and match["open"] + match["close"] in ("[]", "()"):
            entries = [entry.strip() for entry in match["list"].split(",") if entry.strip()]
            return tuple(_number(entry, name) for entry in entries)
        raise ParameterError(
            f'expected {name} as [min,max], (a,b,...), a number or a "string", '
            f"received {match[0]!r}"
        )


def _number(text: str, name: str) -> Decimal:
    try:
        number = Decimal(text)
    except ArithmeticError:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number.adjusted()) > 400:
        raise ParameterError(f"expected numbers in {name}, received {text!r}")
    return number


def _container(name: str, parameters: dict[str, Any], steps: list[Augmentation]) -> Augmentation:
    known = {"OneOfAugmentationContainer": {"p"}, "SomeOfAugmentationContainer": {"count", "p"}}
    known["SequentialAugmentationContainer"] = {"fuse"}
    if unknown := parameters.keys() - known[name]:
        raise ParameterError(f"{name} takes {sorted(known[name])}, received {sorted(unknown)}")
    given = {key: _plain(value) for key, value in parameters.items()}
    if "fuse" in given:
        given["fuse"] = bool(given["fuse"])
    return CONTAINERS[name](steps, **given)


def _operation(name: str, parameters: dict[str, Any]) -> Augmentation:
    classes = {_spelling(cls).name: cls for cls in AUGMENTATIONS.values()}
    cls = classes.get(name.removeprefix("Aug")) if name.startswith("Aug") else None
    if cls is None:
        raise ParameterError(
            f"expected one of {', '.join('Aug' + known for known in sorted(classes))}, "
            f"received {name!r}; preparations such as resizing are functions of ecvl and ecvl.Steps"
        )
    spelling = _spelling(cls)
    fields: dict[str, Any] = {spelling.fields.get(f.name, f.name): f for f in _fields(cls)}
    entry: dict[str, Any] = {"op": cls.__name__, **spelling.defaults}
    for key, value in parameters.items():
        if key in fields:
            field = fields[key]
            entry[field.name] = _read(value, field, spelling)
        elif key not in spelling.fixed:
            known = sorted({*fields, *spelling.fixed})
            raise ParameterError(f"{name} takes {', '.join(known)}, received {key!r}")
        elif _plain(value) not in spelling.fixed[key]:
            raise ParameterError(
                f"{name} knows {key} {', '.join(map(repr, spelling.fixed[key]))}, received "
                f"{_plain(value)!r}"
            )
    return from_entry(entry, AUGMENTATIONS, "augmentation")


def _read(value: Any, field: Any, spelling: Spelling) -> Any:
    if field.name in spelling.levels and not isinstance(value, str):
        with localcontext(prec=60):
            value = tuple(v / LEVELS for v in value) if isinstance(value, tuple) else value / LEVELS
    plain = _plain(value)
    if field.name in spelling.reversed and isinstance(plain, tuple):
        plain = plain[::-1]
    if field.type is bool and plain in (0, 1):
        return bool(plain)
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_plain(entry) for entry in value)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


def _lines(augmentation: Augmentation, indent: str) -> list[str]:
    if isinstance(augmentation, Operation):
        spelling = _spelling(type(augmentation))
        parts = [f"{indent}Aug{spelling.name}"]
        for field in _fields(type(augmentation)):
            value = getattr(augmentation, field.name)
            default = spelling.defaults.get(field.name, field.default)
            if value is not None and value != default:
                name = spelling.fields.get(field.name, field.name)
                parts.append(f"{name}={_written(value, field, spelling)}")
        return [" ".join(parts)]
    for name, cls in CONTAINERS.items():
        if type(augmentation) is cls:
            document = augmentation.to_json()
            header = [f"{indent}{name}"]
            header += [
                f"{key}={_value_text(document[key])}"
                for key in ("fuse", "count", "p")
                if key in document and document[key] not in (True, 1.0)
            ]
            steps: Any = getattr(augmentation, "steps", ())
            inner = [line for step in steps for line in _lines(step, indent + "    ")]
            return [" ".join(header), *inner, f"{indent}end"]
    raise ParameterError(f"expected an augmentation, received {type(augmentation).__name__}")


def _written(value: Any, field: Any, spelling: Spelling) -> str:
    if field.name in spelling.reversed and isinstance(value, tuple):
        value = value[::-1]
    write: Callable[[float], str] = _shortest
    if field.name in spelling.levels:
        write = _in_levels
    if field.type in (tuple[float, float], tuple[int, int]):
        low, high = value
        return write(low) if low == high else f"[{write(low)},{write(high)}]"
    return _value_text(value)


def _value_text(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple | list):
        return f"({','.join(_shortest(entry) for entry in value)})"
    return _shortest(value)


def _shortest(number: float) -> str:
    if isinstance(number, bool):
        return str(int(number))
    return str(int(number)) if number == int(number) and abs(number) < 1e15 else repr(number)


def _in_levels(part: float) -> str:
    """Return the shortest decimal that, divided by 255, is the number."""
    with localcontext(prec=60):
        exact = Decimal(part) * LEVELS
        for digits in range(1, 40):
            text = f"{exact:.{digits}g}"
            if float(Decimal(text) / LEVELS) == part:
                return _shortest(float(text)) if float(text) == Decimal(text) else text
    return str(exact)


def _spelling(cls: type[Operation]) -> Spelling:
    return SPELLINGS.get(cls.__name__, Spelling(cls.__name__))


def _fields(cls: type[Operation]) -> tuple[Any, ...]:
    return dataclasses.fields(cls)  # type: ignore[arg-type]
