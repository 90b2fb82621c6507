"""The tensor protocol: what ecvl and eddl share instead of a package.

The same definition stands in `eddl.tensors`; `tests/contract` proves that the two are equal.
"""

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Tensor(Protocol):
    """Any array that offers itself through DLPack: NumPy, CuPy, PyTorch, JAX, images, batches.

    Optional attributes, read when present:
        axes: a string over the letters `n c t z y x`, one letter a dimension.
        spacing: mm, in the order in which the spatial axes stand in the array.
        affine: 4x4, from voxel indices x, y, z (whatever the array's order) to RAS+ mm.

    Example:
        >>> import numpy as np
        >>> isinstance(np.zeros(3), Tensor)
        True
    """

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Return a DLPack capsule that shares, or with `copy=True` copies, the memory."""
        ...

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return the DLPack device type and its number, `(1, 0)` for host memory."""
        ...
