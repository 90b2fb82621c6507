"""What `precision=` says: the type that products compute in."""

from __future__ import annotations

from eddl.compiler import Backend
from eddl.errors import AttributeValueError, DeviceError

PRECISIONS = ("float32", "bfloat16", "float16")


def check_precision(precision: str, backend: Backend) -> str:
    """The precision, where the backend has it."""
    if precision not in PRECISIONS:
        raise AttributeValueError(f"received precision={precision!r}, expected one of {PRECISIONS}")
    reason = "" if precision == "float32" else backend.why_not(precision)
    if reason:
        others = [name for name in PRECISIONS[1:] if name != precision]
        computed = ["float32", *(name for name in others if not backend.why_not(name))]
        raise DeviceError(
            f"received precision={precision!r}, which the {backend.name} backend does not compute "
            f"here: {reason}; expected one of {computed}"
        )
    return precision
