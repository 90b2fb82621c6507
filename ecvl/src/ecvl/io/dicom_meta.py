"""DICOM elements as plain Python values, for `Image.meta` and nowhere else."""

from collections.abc import Sequence
from typing import Any

from ecvl.io.dicom_headers import LONGEST_TEXT


def elements(dataset: Any) -> dict[str, Any]:
    """Return the standard's elements of a data set by keyword, as text, numbers and lists of them.

    Sequences, private elements, bytes and long texts are left out, as are elements that are
    damaged.

    Example:
        >>> from pydicom import Dataset
        >>> dataset = Dataset()
        >>> dataset.Rows = 4
        >>> elements(dataset)
        {'Rows': 4}
    """
    found: dict[str, Any] = {}
    for tag in list(dataset.keys()):
        if tag.is_private or tag.group == 0x7FE0:
            continue
        try:
            element = dataset[tag]
            value = _plain(element.value) if element.VR != "SQ" else None
        except Exception:
            continue
        if element.keyword and value is not None:
            found[element.keyword] = value
    return found


def merged(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Part the elements of a series into those that all slices share and those of each.

    Example:
        >>> merged([{"a": 1, "b": 2}, {"a": 1, "b": 3}])
        {'common': {'a': 1}, 'slices': [{'b': 2}, {'b': 3}]}
    """
    common = {
        key: value
        for key, value in rows[0].items()
        if all(key in row and row[key] == value for row in rows[1:])
    }
    slices = [{k: v for k, v in row.items() if k not in common} for row in rows]
    return {"common": common, "slices": slices}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bytes):
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, float) or type(value).__name__ == "DSdecimal":
        return float(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(entry) for entry in value]
    as_text = str(value)
    return as_text if len(as_text) <= LONGEST_TEXT else None
