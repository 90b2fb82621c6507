"""DICOM elements as plain Python values: for messages, for geometry, and for `Image.meta`.

An element of a hostile file can raise anything when it is looked at; here it does not.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ecvl.errors import FormatError

LONGEST_TEXT = 1024
# Bytes, sequences and pixels stay out of `meta`.
LEFT_OUT = frozenset({"SQ", "OB", "OW", "OD", "OF", "OL", "OV", "UN"})


def text(source: Any, keyword: str) -> str:
    """Return an element as one line of text, or "" where it is absent or damaged.

    Example:
        >>> from pydicom import Dataset
        >>> text(Dataset(), "Modality")
        ''
    """
    try:
        found = str(source.get(keyword) or "")[:LONGEST_TEXT]
        if not found.isprintable():
            found = "".join(c for c in found if c.isprintable())
        return found.strip()
    except Exception:
        return ""


def number(source: Any, keyword: str) -> int | None:
    """Return an element as a whole number, or `None` where it is absent or damaged.

    Example:
        >>> from pydicom import Dataset
        >>> number(Dataset(), "Rows") is None
        True
    """
    try:
        value = source.get(keyword)
        return None if value is None else int(value)
    except Exception:
        return None


def numbers(source: Any, keyword: str, count: int | None = None) -> list[float] | None:
    """Return an element as finite numbers, or `None` where it is absent or empty.

    Args:
        source: a data set or one frame's view of it.
        keyword: the element.
        count: how many numbers it must hold; any number by default.

    Raises:
        FormatError: it is there but is not `count` finite numbers.

    Example:
        >>> from pydicom import Dataset
        >>> numbers(Dataset(), "PixelSpacing", 2) is None
        True
    """
    try:
        value = source.get(keyword)
        if value is None or value == "":
            return None
        several = isinstance(value, Iterable) and not isinstance(value, str)
        found = [float(entry) for entry in (value if several else [value])]
    except Exception:
        found = [float("nan")]
    if not found:
        return None
    if (count is not None and len(found) != count) or not all(abs(v) < 1e12 for v in found):
        raise FormatError(
            f"expected {count or 'some'} finite numbers in the DICOM element {keyword}, received "
            "something else; correct the source"
        )
    return found


def sequence(source: Any, keyword: str) -> list[Any]:
    """Return the items of a sequence; none where it is absent or damaged.

    Example:
        >>> from pydicom import Dataset
        >>> sequence(Dataset(), "DetectorInformationSequence")
        []
    """
    try:
        return list(source.get(keyword) or [])
    except Exception:
        return []


def plain(value: Any) -> Any:
    """Return an element's value as text, a number or a list of them; `None` for anything else.

    Example:
        >>> from pydicom.valuerep import DSfloat
        >>> plain([DSfloat("1.5"), 2])
        [1.5, 2]
    """
    if value is None or isinstance(value, bytes):
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, float) or type(value).__name__ == "DSdecimal":
        return float(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(entry) for entry in value]
    as_text = str(value)
    return as_text if len(as_text) <= LONGEST_TEXT else None


def elements(dataset: Any, tags: Iterable[Any] | None = None) -> dict[str, Any]:
    """Return the standard's elements of a data set by keyword, as text, numbers and lists of them.

    Sequences, private elements, bytes and long texts are left out, as are elements that are
    damaged.

    Args:
        dataset: a pydicom data set.
        tags: the only ones wanted.

    Example:
        >>> from pydicom import Dataset
        >>> dataset = Dataset()
        >>> dataset.Rows = 4
        >>> elements(dataset)
        {'Rows': 4}
    """
    found: dict[str, Any] = {}
    for tag in list(dataset.keys()) if tags is None else tags:
        if tag.group & 1 or tag.group == 0x7FE0:
            continue
        try:
            if dataset.get_item(tag).VR in LEFT_OUT:
                continue
            element = dataset[tag]
            value = plain(element.value) if element.VR not in LEFT_OUT else None
        except Exception:
            continue
        if element.keyword and value is not None:
            found[element.keyword] = value
    return found


def series_elements(datasets: Sequence[Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Part the elements of a series into those that all files share and those of each.

    Raw bytes are compared, so what is common is turned into a plain value once.

    Example:
        >>> from pydicom import Dataset
        >>> first, second = Dataset(), Dataset()
        >>> first.Rows = second.Rows = 4
        >>> first.InstanceNumber, second.InstanceNumber = 1, 2
        >>> series_elements([first, second])
        ({'Rows': 4}, [{'InstanceNumber': 1}, {'InstanceNumber': 2}])
    """
    first, *others = datasets
    raw = [dict(dataset.items()) for dataset in datasets]
    common = [
        tag
        for tag, element in raw[0].items()
        if all(r.get(tag) is element or _same(r.get(tag), element) for r in raw[1:])
    ]
    shared = set(common)
    rows = [
        elements(dataset, [tag for tag in values if tag not in shared])
        for dataset, values in zip([first, *others], raw, strict=True)
    ]
    return elements(first, common), rows


def merged(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Part mappings into what all of them share and what is left of each.

    Example:
        >>> merged([{"a": 1, "b": 2}, {"a": 1, "b": 3}])
        ({'a': 1}, [{'b': 2}, {'b': 3}])
    """
    common = {
        key: value
        for key, value in rows[0].items()
        if all(key in row and row[key] == value for row in rows[1:])
    }
    return common, [{k: v for k, v in row.items() if k not in common} for row in rows]


def _same(one: Any, other: Any) -> bool:
    try:
        return one is not None and bool(one.value == other.value)
    except Exception:
        return False
