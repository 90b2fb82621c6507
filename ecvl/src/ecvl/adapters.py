"""Images to and from nibabel and SimpleITK, exactly or not at all.

* Nothing is resampled: what the other library cannot hold is refused, with what to do about it.
* nibabel's arrays are ours transposed, without a copy; SimpleITK's are copied.
* World positions are RAS+ here and in nibabel, and LPS+ in SimpleITK.

Held by `tests/ecvl/test_adapters.py`.
"""

from typing import Any

import numpy as np

from ecvl.affines import ORTHOGONAL_TOLERANCE, checked_affine, non_orthogonality
from ecvl.errors import FormatError, GeometryError, KindError
from ecvl.image import Image, Kind, require_kind

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def to_nibabel(image: Image) -> Any:
    """Return an image as a `nibabel.Nifti1Image`, or `Nifti2Image` where a size needs it.

    Args:
        image: axes "yx", "zyx", "tzyx", "czyx" or "ctzyx", or uint8 colour as "yxc", "zyxc" or
            "tzyxc" (3 or 4 channels).

    Returns:
        An image that shares the array's memory (colour: is a view of it), with sform and qform.

    Raises:
        FormatError: NIfTI has no place for the axes.
        KindError: NIfTI cannot hold float16.

    Example:
        >>> to_nibabel(Image(np.zeros((2, 3, 4), np.int16), "zyx")).shape
        (4, 3, 2)
    """
    require_kind(image, None, "to_nibabel")
    import nibabel

    from ecvl.io.nifti_header import new_header

    if image.dtype == np.float16:
        raise KindError("NIfTI cannot hold float16; convert with array.astype(np.float32)")
    header, _ = new_header(image, None, single=True)
    dtype = header.get_data_dtype()
    array = image.array
    if dtype.fields:
        array = array.view(dtype.newbyteorder("="))[..., 0]
    array = array.T.reshape(header.get_data_shape(), order="F")
    second = int(header["sizeof_hdr"]) != 348
    cls = nibabel.Nifti2Image if second else nibabel.Nifti1Image
    made = cls(array, image.affine, header.as_byteswapped("<"), dtype=dtype)
    made.header["vox_offset"] = 0
    return made


def from_nibabel(source: Any, *, kind: Kind | None = None) -> Image:
    """Return any of nibabel's spatial images (NIfTI, MGH, MINC, Analyze, PAR/REC, AFNI) as ours.

    Args:
        source: with `affine` and `dataobj`.
        kind: "image" or "labels"; by default labels where a NIfTI intent says so.

    Returns:
        An image that shares the memory where the source has an array; a file is read and scaled, as
        nibabel scales it.

    Raises:
        KindError: it is no image of nibabel, or its voxels are complex.
        GeometryError: it has fewer than 2 or more than 5 dimensions, or no usable affine.

    Example:
        >>> import nibabel
        >>> from_nibabel(nibabel.Nifti1Image(np.zeros((4, 3, 2), np.int16), np.eye(4)))
        Image(image zyx 2×3×4 int16, spacing 1×1×1 mm, RAS)
    """
    from ecvl.io.nifti_header import LABEL_INTENT, LETTERS, MILLIMETRES, SECONDS

    if not hasattr(source, "dataobj") or not hasattr(source, "affine"):
        raise KindError(f"expected an image of nibabel, received {type(source).__name__}")
    array = np.asanyarray(source.dataobj)
    colour = array.dtype.fields is not None
    if colour:
        array = np.ascontiguousarray(array.T).view(np.uint8).reshape(*array.shape[::-1], -1)
    else:
        array = array.T
    rank = array.ndim - colour
    if not 2 <= rank <= 5:
        raise GeometryError(f"expected 2 to 5 dimensions, received {rank}")
    axes = LETTERS[:rank][::-1]
    if rank == 5 and array.shape[1] == 1:
        array, axes = array[:, 0], "czyx"
    axes += "c" if colour else ""
    affine = np.array(source.affine, np.float64)
    header, meta, factor = source.header, {}, 1.0
    if hasattr(header, "get_xyzt_units"):
        length, time = header.get_xyzt_units()
        factor = MILLIMETRES.get(length, 1.0)
        if "t" in axes:
            step = float(header.get_zooms()[3]) * SECONDS.get(time, 1.0)
            meta["time_step"] = step if step > 0 else None
        if kind is None and int(header["intent_code"]) == LABEL_INTENT:
            kind = "labels"
    affine[:3] *= factor
    return Image(array, axes, checked_affine(affine), kind or "image", meta)


def to_sitk(image: Image) -> Any:
    """Return an image as a `SimpleITK.Image`.

    Args:
        image: axes "yx", "zyx" or "tzyx", with or without a c last (a vector image).

    Returns:
        A copy, with spacing, origin and direction in LPS; the time step is the fourth spacing.

    Raises:
        FormatError: other axes.
        KindError: float16.
        GeometryError: the axes are not at right angles (a tilted series), or a 2-D image lies in
            another plane than that of world x and y at z = 0, which SimpleITK cannot hold.

    Example:
        >>> to_sitk(Image(np.zeros((2, 3, 4), np.int16), "zyx")).GetSize()
        (4, 3, 2)
    """
    require_kind(image, None, "to_sitk")
    import SimpleITK as sitk

    axes = image.axes.removesuffix("c")
    if axes not in ("yx", "zyx", "tzyx"):
        raise FormatError(
            f"expected axes yx, zyx or tzyx, with or without a c last, for SimpleITK, received "
            f"{image.axes!r}; transpose first"
        )
    if image.dtype == np.float16:
        raise KindError("SimpleITK cannot hold float16; convert with array.astype(np.float32)")
    if non_orthogonality(image.affine) > ORTHOGONAL_TOLERANCE:
        raise GeometryError(
            "expected an image whose axes are at right angles for SimpleITK, received a sheared one"
            " (a tilted series); use ecvl.resample(image, like=...) first"
        )
    lps = LPS @ image.affine
    rank = len(axes)
    flat = not (lps[2, :2].any() or lps[2, 3] or lps[:2, 2].any())
    if rank == 2 and not flat:
        raise GeometryError(
            "expected a 2-D image in the plane of world x and y at z = 0 for SimpleITK, received "
            "one elsewhere; give image[None], one slice thick"
        )
    made = sitk.GetImageFromArray(image.array, isVector=image.axes.endswith("c"))
    spatial = min(rank, 3)
    spacing, origin, direction = np.ones(rank), np.zeros(rank), np.eye(rank)
    spacing[:spatial] = image.spacing[::-1]
    origin[:spatial] = lps[:spatial, 3]
    direction[:spatial, :spatial] = lps[:spatial, :spatial] / spacing[:spatial]
    if rank == 4:
        spacing[3] = image.time_step or 1
    made.SetSpacing(spacing.tolist())
    made.SetOrigin(origin.tolist())
    made.SetDirection(direction.reshape(-1).tolist())
    return made


def from_sitk(source: Any, *, kind: Kind = "image") -> Image:
    """Return a `SimpleITK.Image` as ours.

    Args:
        source: of 2 to 4 dimensions (the fourth is time), of scalars or vectors.
        kind: "image" or "labels"; SimpleITK does not know.

    Returns:
        A copy with axes "yx", "zyx" or "tzyx", and a c last for vectors.

    Raises:
        KindError: it is no image of SimpleITK, or complex.
        GeometryError: time is mixed with space.

    Example:
        >>> import SimpleITK as sitk
        >>> from_sitk(sitk.Image([4, 3, 2], sitk.sitkInt16))
        Image(image zyx 2×3×4 int16, spacing 1×1×1 mm, LPS)
    """
    import SimpleITK as sitk

    if not isinstance(source, sitk.Image):
        raise KindError(f"expected a SimpleITK.Image, received {type(source).__name__}")
    rank = source.GetDimension()
    if not 2 <= rank <= 4:
        raise GeometryError(f"expected 2 to 4 dimensions, received {rank}")
    direction = np.reshape(source.GetDirection(), (rank, rank))
    if rank == 4 and (direction[3, :3].any() or direction[:3, 3].any()):
        raise GeometryError("expected time apart from space, received a direction that mixes them")
    spatial = min(rank, 3)
    affine = np.eye(4)
    affine[:spatial, :spatial] = direction[:spatial, :spatial] * source.GetSpacing()[:spatial]
    affine[:spatial, 3] = source.GetOrigin()[:spatial]
    array = sitk.GetArrayFromImage(source)
    axes = "tzyx"[-rank:] + ("c" if array.ndim > rank else "")
    meta = {"time_step": source.GetSpacing()[3]} if rank == 4 else {}
    return Image(array, axes, LPS @ affine, kind, meta)
