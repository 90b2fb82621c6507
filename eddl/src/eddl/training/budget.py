"""What `memory=` says: "fast", "low", or so many bytes."""

from __future__ import annotations

import re
from typing import Any

from eddl.errors import AttributeValueError

UNITS = {
    "": 1,
    "B": 1,
    **{f"{p}B": 1000**i for i, p in enumerate("KMGT", 1)},
    **{f"{p}IB": 1024**i for i, p in enumerate("KMGT", 1)},
}


def read_memory(memory: Any) -> str | int:
    """The mode, or the bytes of a budget.

    >>> read_memory("low"), read_memory("1.5GiB"), read_memory("500 MB"), read_memory(1 << 20)
    ('low', 1610612736, 500000000, 1048576)
    """
    if memory in ("fast", "low"):
        return str(memory)
    if isinstance(memory, int) and not isinstance(memory, bool) and memory > 0:
        return memory
    if isinstance(memory, str):
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", memory.strip())
        unit = UNITS.get(found[2].upper()) if found else None
        size = int(float(found[1]) * unit) if found and unit else 0
        if size > 0:
            return size
    raise AttributeValueError(
        f'received memory={memory!r}, expected "fast", "low", or a budget above 0 such as '
        '"4GiB", "500MB" or a number of bytes'
    )
