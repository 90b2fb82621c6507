"""Registration: the transform that brings one image onto another. By SimpleITK, in RAS+ mm.

The same seed gives the same transform on any number of cores: samples are drawn by it, and the
search runs on one thread. Held by `tests/ecvl/process/test_registration.py` against transforms that
are known.
"""

from typing import Any, Literal

import numpy as np

from ecvl.affines import Affine
from ecvl.errors import GeometryError, ParameterError, one_line
from ecvl.image import Image, require_kind
from ecvl.process.lattice import Lattice
from ecvl.process.registry import processing
from ecvl.process.transform import Transform
from ecvl.process.volumes import is_real, mask_of, one_thread, require_straight

Method = Literal["translation", "rigid", "similarity", "affine", "deformable", "demons"]
Metric = Literal["mutual information", "correlation", "mean squares"]

LINEAR = ("translation", "rigid", "similarity", "affine")
METHODS = (*LINEAR, "deformable", "demons")
# An image is not made smaller than this along an axis before it is looked at coarsely.
LEAST_SIZE = 12
# The library smooths over this many voxels along an axis, or more.
LEAST_TO_SMOOTH = 4
MOST_SAMPLES = 100_000
# Each sample of a B-spline costs a hundred times as much.
MOST_SAMPLES_OF_A_SPLINE = 30_000
FEWEST_SAMPLES = 2_000


@processing("image", "value", geometry="none", dtype="own", each=False, least=LEAST_TO_SMOOTH)
def register(
    moving: Image,
    fixed: Image,
    method: Method = "rigid",
    *,
    metric: Metric = "mutual information",
    initial: Transform | Literal["centres", "masses"] | None = "centres",
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    control_mm: float = 30.0,
    iterations: int = 200,
    seed: int = 0,
) -> Transform:
    """Find the transform that brings an image onto another, from coarse to fine.

    Args:
        moving: the image to bring over; one channel and time point.
        fixed: the image to bring it onto, of the same rank.
        method: "translation", "rigid" (and turns), "similarity" (and one scale), "affine" (12 free
            numbers, 6 in 2-D), "deformable" (a cubic B-spline; Rueckert and others, 1999) or
            "demons" (a displacement for every voxel, smoothed by Gaussians of 1.5 voxels; Thirion
            1998 in Vercauteren's form, for images of the same contrast). The two last look for an
            affine transform first, unless `initial` is one.
        metric: "mutual information" (Mattes, 32 bins; also between modalities), "correlation"
            (the same contrast up to scale) or "mean squares" (the same values). Demons has its own.
        initial: where to begin: "centres" lays the middles of both grids on each other, "masses"
            their centres of mass, `None` leaves them where they are in the world (the same scanner
            session); or a transform from before.
        fixed_mask: labels on the fixed grid; only voxels above 0 are compared.
        moving_mask: labels on the moving grid; the same.
        control_mm: for "deformable", the distance of the B-spline's control points, in mm.
        iterations: the greatest number of steps on each of three levels.
        seed: for the choice of voxels that are compared (a fifth, 2,000 to 100,000; for a B-spline
            at most 30,000).

    Returns:
        The transform from the fixed space to the moving one, for `warp(moving, transform,
        like=fixed)`.

    Raises:
        KindError: labels were given; convert with `distance_map` to register shapes.
        GeometryError: ranks differ, axes are not at right angles or have under 4 voxels, or the
            images do not overlap or have nothing to compare.
        ParameterError: an argument is not one that the function takes.

    Example:
        >>> y, x = np.ogrid[:32, :32]
        >>> blob = Image(np.exp(-((y - 15) ** 2 + (x - 12) ** 2) / 40).astype(np.float32), "yx")
        >>> there = np.eye(4); there[0, 3] = 3
        >>> moved = blob.replace(affine=there)
        >>> found = register(moved, blob, "translation", metric="mean squares", initial=None)
        >>> found.matrix[:2, 3].round(1)
        array([3., 0.])
    """
    for name, image in (("moving", moving), ("fixed", fixed)):
        require_kind(image, "image", "register")
        require_straight(image, "registration")
        if image.axes != image.spatial_axes:
            raise GeometryError(
                f"expected one channel and time point to register, received {name} with axes "
                f"{image.axes!r}; choose one: Image(array[index], 'zyx', image.affine)"
            )
        z, y, x = image.grid.shape
        if min(y, x) < LEAST_TO_SMOOTH or 1 < z < LEAST_TO_SMOOTH:
            raise GeometryError(
                f"expected at least {LEAST_TO_SMOOTH} voxels along each axis (or one slice) to "
                f"register, received {name} of {image.spatial_shape}"
            )
    if moving.axes != fixed.axes:
        raise GeometryError(f"expected images of one rank, received {moving!r} and {fixed!r}")
    if method not in METHODS:
        raise ParameterError(f"expected method among {', '.join(METHODS)}, received {method!r}")
    if metric not in ("mutual information", "correlation", "mean squares"):
        raise ParameterError(
            f"expected metric 'mutual information', 'correlation' or 'mean squares', received "
            f"{metric!r}"
        )
    for name, number in (("iterations", iterations), ("seed", seed)):
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 1 << 31:
            raise ParameterError(f"expected {name} as a whole number from 0, received {number!r}")
    if not is_real(control_mm) or control_mm <= 0:
        raise ParameterError(f"expected control_mm above 0, received {control_mm!r}")
    frame = _frame(fixed)
    flat = fixed.grid.shape[0] == moving.grid.shape[0] == 1
    if not flat and 1 in (fixed.grid.shape[0], moving.grid.shape[0]):
        raise GeometryError(
            f"expected two volumes, or two of one slice, received {moving!r} and {fixed!r}"
        )
    pair = _Pair(fixed, moving, fixed_mask, moving_mask, frame, flat)
    task = _Task(pair, metric, iterations, seed)
    with one_thread():
        try:
            begin = _begin(pair, initial)
            if method in LINEAR:
                local = _linear(task, method, begin)
                return _worldly(local, pair)
            if not isinstance(initial, Transform):
                begin = _linear(task, "affine", _linear(task, "rigid", begin))
            if method == "deformable":
                lattice = _deformable(task, begin, float(control_mm))
            else:
                lattice = _demons(pair, begin, iterations)
            moved = _placed(lattice, pair)
            return Transform([moved]).then(_worldly(begin, pair))
        except RuntimeError as error:
            raise GeometryError(
                "the images could not be registered (do they overlap, and do their masks?): "
                f"{one_line(error)[-120:]}"
            ) from None


class _Pair:
    """Both images as SimpleITK's, in the frame (mm along the fixed image's axes) of the fixed one.

    A plane, or two volumes of one slice, are registered in 2-D.
    """

    def __init__(
        self,
        fixed: Image,
        moving: Image,
        fixed_mask: Image | None,
        moving_mask: Image | None,
        frame: Affine,
        flat: bool,
    ) -> None:
        self.frame, self.flat = frame, flat
        self.fixed, self.moving = self._given(fixed), self._given(moving)
        # What the moving plane stands before or behind the fixed one.
        offset = np.linalg.solve(frame, moving.affine[:, 3])[2] if flat else 0.0
        self.lift = float(offset)
        self.fixed_mask = None if fixed_mask is None else self._given(_masked(fixed, fixed_mask))
        self.moving_mask = (
            None if moving_mask is None else self._given(_masked(moving, moving_mask))
        )

    @property
    def dimensions(self) -> int:
        return 2 if self.flat else 3

    def _given(self, image: Image) -> Any:
        import SimpleITK as sitk

        array = image.array if image.kind == "labels" else image.array.astype(np.float32)
        if image.kind == "image" and not np.isfinite(array).all():
            raise GeometryError("expected finite values to register, received NaN or infinity")
        local = np.linalg.solve(self.frame, image.affine)
        sizes = np.linalg.norm(local[:3, :3], axis=0)
        count = self.dimensions
        turn = local[:3, :3] / sizes
        if self.flat:
            array = array.reshape(array.shape[-2:])
            if abs(abs(turn[2, 2]) - 1) > 1e-4:
                raise GeometryError("expected 2-D images in parallel planes to register")
        picture = sitk.GetImageFromArray(array)
        picture.SetSpacing(sizes[:count].tolist())
        picture.SetOrigin(local[:count, 3].tolist())
        picture.SetDirection(turn[:count, :count].ravel().tolist())
        return picture


class _Task:
    """What all searches share."""

    def __init__(self, pair: _Pair, metric: Metric, iterations: int, seed: int) -> None:
        self.pair, self.metric, self.iterations, self.seed = pair, metric, iterations, seed

    def search(self, most: int = MOST_SAMPLES) -> Any:
        """Return a search over three levels, or as many as the size of the images allows."""
        import SimpleITK as sitk

        search, fixed = sitk.ImageRegistrationMethod(), self.pair.fixed
        if self.metric == "mutual information":
            search.SetMetricAsMattesMutualInformation(32)
        elif self.metric == "correlation":
            search.SetMetricAsCorrelation()
        else:
            search.SetMetricAsMeanSquares()
        voxels = float(np.prod(fixed.GetSize()))
        # A mask leaves fewer; the share of voxels is one of the whole grid.
        wanted = min(max(voxels / 5, FEWEST_SAMPLES), most)
        if wanted < voxels:
            search.SetMetricSamplingStrategy(search.RANDOM)
            search.SetMetricSamplingPercentage(wanted / voxels, self.seed + 1)
        if self.pair.fixed_mask is not None:
            search.SetMetricFixedMask(self.pair.fixed_mask)
        if self.pair.moving_mask is not None:
            search.SetMetricMovingMask(self.pair.moving_mask)
        search.SetInterpolator(sitk.sitkLinear)
        least = min(*fixed.GetSize(), *self.pair.moving.GetSize())
        factors = [factor for factor in (4, 2) if least / factor >= LEAST_SIZE]
        search.SetShrinkFactorsPerLevel([*factors, 1])
        spacing = float(np.mean(fixed.GetSpacing()))
        search.SetSmoothingSigmasPerLevel([factor / 2 * spacing for factor in factors] + [0.0])
        search.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
        return search


def _linear(task: _Task, method: str, begin: Any) -> Any:
    """Search for a linear transform near another."""
    import SimpleITK as sitk

    count = task.pair.dimensions
    kinds = {
        "translation": sitk.TranslationTransform,
        "rigid": {2: sitk.Euler2DTransform, 3: sitk.Euler3DTransform}[count],
        "similarity": {2: sitk.Similarity2DTransform, 3: sitk.Similarity3DTransform}[count],
        "affine": sitk.AffineTransform,
    }
    own = kinds[method](count) if method in ("translation", "affine") else kinds[method]()
    search = task.search()
    if method != "translation":
        # Turns are around the middle of the fixed image, so that they do not shift it.
        own.SetCenter(_middle(task.pair.fixed))
    search.SetMovingInitialTransform(begin)
    search.SetInitialTransform(own, True)
    search.SetOptimizerAsRegularStepGradientDescent(
        learningRate=1.0,
        minStep=1e-4,
        numberOfIterations=task.iterations,
        relaxationFactor=0.5,
        gradientMagnitudeTolerance=1e-8,
    )
    search.SetOptimizerScalesFromPhysicalShift()
    if task.iterations:
        search.Execute(task.pair.fixed, task.pair.moving)
    joined = sitk.CompositeTransform(count)
    joined.AddTransform(begin)
    joined.AddTransform(own)
    return joined


def _deformable(task: _Task, begin: Any, control_mm: float) -> Lattice:
    """Search for a B-spline that goes before a linear transform."""
    import SimpleITK as sitk

    fixed = task.pair.fixed
    mesh = [
        max(1, round(n * s / control_mm))
        for n, s in zip(fixed.GetSize(), fixed.GetSpacing(), strict=True)
    ]
    if np.prod(mesh) > 1 << 20:
        raise ParameterError(f"expected control_mm that gives fewer points than {mesh}")
    spline = sitk.BSplineTransformInitializer(fixed, mesh, 3)
    search = task.search(MOST_SAMPLES_OF_A_SPLINE)
    search.SetMovingInitialTransform(begin)
    search.SetInitialTransform(spline, True)
    search.SetOptimizerAsLBFGSB(
        gradientConvergenceTolerance=1e-5,
        numberOfIterations=max(1, task.iterations // 2),
        maximumNumberOfCorrections=5,
        maximumNumberOfFunctionEvaluations=1000,
        costFunctionConvergenceFactor=1e9,
    )
    search.Execute(fixed, task.pair.moving)
    pictures = spline.GetCoefficientImages()
    field = np.stack([sitk.GetArrayFromImage(picture) for picture in pictures])
    return Lattice(*_in_three(field, pictures[0]), 3)


def _demons(pair: _Pair, begin: Any, iterations: int) -> Lattice:
    """Let every voxel of the fixed image look for its like, from coarse to fine."""
    import SimpleITK as sitk

    moving = sitk.Resample(pair.moving, pair.fixed, begin, sitk.sitkLinear, 0.0)
    moving = sitk.HistogramMatching(moving, pair.fixed, 256, 16, True)
    field: Any = None
    least = min(pair.fixed.GetSize())
    for factor in [factor for factor in (4, 2, 1) if factor == 1 or least / factor >= LEAST_SIZE]:
        coarse = [
            sitk.Shrink(sitk.SmoothingRecursiveGaussian(picture, [
                factor * size / 2 for size in picture.GetSpacing()
            ]), [factor] * pair.dimensions) if factor > 1 else picture
            for picture in (pair.fixed, moving)
        ]  # fmt: skip
        task = sitk.FastSymmetricForcesDemonsRegistrationFilter()
        task.SetNumberOfIterations(max(1, iterations // 2))
        task.SetStandardDeviations(1.5)
        if field is None:
            found = task.Execute(*coarse)
        else:
            found = task.Execute(*coarse, sitk.Resample(field, coarse[0]))
        field = found
    values = sitk.GetArrayFromImage(field)
    return Lattice(*_in_three(np.moveaxis(values, -1, 0), field), 1)


def _in_three(field: Any, picture: Any) -> tuple[Any, Affine]:
    """Return displacements and where they stand, in the frame, also of a plane, in 3-D."""
    count = len(field)
    turn = np.array(picture.GetDirection()).reshape(count, count)
    affine = np.eye(4)
    affine[:count, :count] = turn * picture.GetSpacing()
    affine[:count, 3] = picture.GetOrigin()
    if count == 2:
        field = np.concatenate([field, np.zeros_like(field[:1])])[:, None]
    return field.astype(np.float32), affine


def _placed(lattice: Lattice, pair: _Pair) -> Lattice:
    """Return displacements in a frame as such in the world."""
    turn = pair.frame[:3, :3]
    field = np.einsum("ij,jzyx->izyx", turn, lattice.displacements.astype(np.float64))
    return Lattice(field.astype(np.float32), pair.frame @ lattice.affine, lattice.degree)


def _worldly(local: Any, pair: _Pair) -> Transform:
    """Return a linear transform of a frame as one of the world."""
    count = pair.dimensions
    corners = np.vstack([np.zeros(count), np.eye(count)])
    images = np.array([local.TransformPoint(corner.tolist()) for corner in corners])
    matrix = np.eye(4)
    matrix[:count, :count] = (images[1:] - images[0]).T
    matrix[:count, 3] = images[0]
    matrix[2, 3] += pair.lift
    whole: Any = pair.frame @ matrix @ np.linalg.inv(pair.frame)
    whole[3] = 0, 0, 0, 1
    return Transform([whole])


def _begin(pair: _Pair, initial: Any) -> Any:
    import SimpleITK as sitk

    count = pair.dimensions
    if isinstance(initial, Transform):
        local: Any = np.linalg.solve(pair.frame, initial.matrix @ pair.frame)
        start = sitk.AffineTransform(count)
        start.SetMatrix(local[:count, :count].ravel().tolist())
        start.SetTranslation(local[:count, 3].tolist())
        return start
    start = sitk.TranslationTransform(count)
    if initial == "centres":
        middles = [
            picture.TransformContinuousIndexToPhysicalPoint(
                [(n - 1) / 2 for n in picture.GetSize()]
            )
            for picture in (pair.fixed, pair.moving)
        ]
        start.SetOffset([there - here for here, there in zip(*middles, strict=True)])
    elif initial == "masses":
        middles = [_mass(picture) for picture in (pair.fixed, pair.moving)]
        start.SetOffset([there - here for here, there in zip(*middles, strict=True)])
    elif initial is not None:
        raise ParameterError(
            f"expected initial 'centres', 'masses', None or a Transform, received {initial!r}"
        )
    return start


def _middle(picture: Any) -> Any:
    return picture.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in picture.GetSize()])


def _mass(picture: Any) -> Any:
    """Return the centre of mass, of values above the least."""
    import SimpleITK as sitk

    values = sitk.GetArrayFromImage(picture).astype(np.float64)
    values -= values.min()
    total = values.sum() or 1.0
    index = [
        float((values.sum(axis=tuple(a for a in range(values.ndim) if a != axis))
               * np.arange(n)).sum() / total)
        for axis, n in enumerate(values.shape)
    ]  # fmt: skip
    return picture.TransformContinuousIndexToPhysicalPoint(index[::-1])


def _frame(image: Image) -> Affine:
    """Return mm along an image's axes, from its first voxel, as a matrix to the world."""
    frame = image.affine.copy()
    frame[:3, :3] /= np.linalg.norm(frame[:3, :3], axis=0)
    return frame


def _masked(image: Image, mask: Image) -> Image:
    inside = np.ascontiguousarray(mask_of(image, mask)).view(np.uint8)
    return image.replace(array=inside, kind="labels", value_range=None)
