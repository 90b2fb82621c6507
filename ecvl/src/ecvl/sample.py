"""A sample: what belongs together and is augmented together, and what was done to it."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecvl.errors import GeometryError, ParameterError
from ecvl.grids import Grid, index_matrix
from ecvl.image import Image, require_kind

if TYPE_CHECKING:
    from ecvl.process.fields import Bend

Positions = NDArray[np.float64]
Leg = tuple[Grid, Grid, Callable[[Any], Any]]


class Sample:
    """Named images and labels on one grid, with boxes, points and values that describe them.

    Args:
        images: an image (named "image"), or name to image.
        labels: labels (named "labels"), or name to labels; none by default.
        values: whatever else belongs to it, such as an age or a class.
        id: a name to report it by.
        group: what must not be split, such as a patient.
        boxes: name to half-open boxes in array order, shape (n, 2, d): start and stop, where voxel
            i reaches from i to i + 1.
        points: name to float indices in array order, shape (n, d): whole numbers are voxel centres.

    Boxes and points stand where the voxels do: whatever moves the images moves them. A box that is
    turned becomes the smallest upright one around it.

    Attributes:
        history: what was done to it, one plain mapping a step, oldest first.
        origin: the grid it had before anything was done to it.
        bends: those of its moves that no affine holds, oldest first.

    Raises:
        GeometryError: the images and labels do not stand on one grid, or boxes or points have
            another number of dimensions.

    Example:
        >>> import numpy as np
        >>> sample = Sample(Image(np.zeros((4, 4)), "yx"), id="a", points={"tip": [[1, 2]]})
        >>> sample.image.shape, sample.labels, sample.points["tip"].tolist()
        ((4, 4), {}, [[1.0, 2.0]])
    """

    def __init__(
        self,
        images: Image | Mapping[str, Image],
        labels: Image | Mapping[str, Image] | None = None,
        values: Mapping[str, Any] | None = None,
        id: str | None = None,
        group: str | None = None,
        *,
        boxes: Mapping[str, ArrayLike] | None = None,
        points: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        self.images = {"image": images} if isinstance(images, Image) else dict(images)
        self.labels = {"labels": labels} if isinstance(labels, Image) else dict(labels or {})
        self.values = dict(values or {})
        self.id = id
        self.group = group
        self.history: tuple[Mapping[str, Any], ...] = ()
        self.bends: tuple[Bend, ...] = ()
        if not self.images:
            raise ParameterError("expected at least one image in a sample, received none")
        for name, image in self.images.items():
            require_kind(image, "image", f"Sample image {name!r}")
        for name, image in self.labels.items():
            require_kind(image, "labels", f"Sample labels {name!r}")
        require_one_grid([*self.images.values(), *self.labels.values()])
        self.origin = self.grid
        dimensions = len(next(iter(self.images.values())).spatial_axes)
        self.boxes = {
            name: _checked(given, (2, dimensions), f"boxes {name!r}")
            for name, given in (boxes or {}).items()
        }
        self.points = {
            name: _checked(given, (dimensions,), f"points {name!r}")
            for name, given in (points or {}).items()
        }
        for name, found in self.boxes.items():
            if (found[:, 1] <= found[:, 0]).any():
                raise GeometryError(f"expected stop > start along each axis in boxes {name!r}")

    @property
    def grid(self) -> Grid:
        """The grid on which all images and labels stand now."""
        return next(iter(self.images.values())).grid

    @property
    def image(self) -> Image:
        """The image, where there is one only."""
        return _only(self.images, "images")

    @property
    def label(self) -> Image:
        """The labels, where there are one only."""
        return _only(self.labels, "labels")

    def changed(
        self,
        images: Mapping[str, Image],
        labels: Mapping[str, Image],
        history: tuple[Mapping[str, Any], ...],
        *,
        boxes: Mapping[str, ArrayLike] | None = None,
        points: Mapping[str, ArrayLike] | None = None,
        bends: Sequence["Bend"] = (),
    ) -> "Sample":
        """Return a sample with other images and labels that remembers where it came from.

        Boxes and points follow the grid through the world and `bends`, the deformations on the way
        that no affine holds, unless they are given.

        Example:
            >>> import numpy as np
            >>> sample = Sample(Image(np.zeros((4, 4)), "yx"))
            >>> sample.changed(sample.images, {}, ({"op": "Flip"},)).history
            ({'op': 'Flip'},)
        """
        new = next(iter(images.values())).grid
        legs = [(bend.before, bend.after, bend.way.sources) for bend in bends]
        return self._changed(images, labels, history, boxes, points, (self.grid, legs, new), bends)

    def _changed(
        self,
        images: Mapping[str, Image],
        labels: Mapping[str, Image],
        history: tuple[Mapping[str, Any], ...],
        boxes: Mapping[str, ArrayLike] | None,
        points: Mapping[str, ArrayLike] | None,
        journey: tuple[Grid, list[Any], Grid],
        bends: Sequence["Bend"],
    ) -> "Sample":
        result = Sample(
            images,
            labels,
            self.values,
            self.id,
            self.group,
            boxes=moved_boxes(self.boxes, *journey) if boxes is None else boxes,
            points=moved_points(self.points, *journey) if points is None else points,
        )
        result.history = history
        result.origin = self.origin
        result.bends = (*self.bends, *bends)
        return result

    def invert(self) -> "Sample":
        """Put every image and label back where it was before the sample was augmented.

        Flips and other whole-voxel operations are undone exactly, others by resampling (labels:
        nearest voxel). What left the field of view does not come back, and changes of intensity
        stay.

        Example:
            >>> import numpy as np
            >>> from ecvl import augment
            >>> sample = Sample(Image(np.array([[1, 2, 3]]), "yx"))
            >>> turned = augment.Flip(p=1)(sample, seed=1)
            >>> np.asarray(turned.image), np.asarray(turned.invert().image)
            (array([[3, 2, 1]]), array([[1, 2, 3]]))
        """
        from ecvl.process.geometry import onto, unbent

        back = [bend.way.inverse(bend.before.shape) for bend in self.bends]

        def home(image: Image) -> Image:
            for bend, way in zip(reversed(self.bends), reversed(back), strict=True):
                image = unbent(image, bend, way)
            return onto(image, self.origin)

        legs = [(bend.after, bend.before, bend.way.at) for bend in reversed(self.bends)]
        result = self._changed(
            {name: home(image) for name, image in self.images.items()},
            {name: home(image) for name, image in self.labels.items()},
            (),
            None,
            None,
            (self.grid, legs, self.origin),
            (),
        )
        result.bends = ()
        return result

    def __repr__(self) -> str:
        parts = [f"{name}={image!r}" for name, image in (self.images | self.labels).items()]
        return f"Sample(id={self.id!r}, {', '.join(parts)})"


def moved_points(
    points: Mapping[str, Positions], old: Grid, legs: Sequence[Leg], new: Grid
) -> dict[str, Positions]:
    """Return the float indices on one grid of points given on another, through the world.

    Args:
        points: name to indices in array order, shape (n, d).
        old: the grid they are given on.
        legs: parts of the way that are not through the world: from a grid, to a grid, and the
            function that takes indices x, y, z of the first to those of the second.
        new: the grid they are wanted on.

    Example:
        >>> import numpy as np
        >>> half = Grid((1, 2, 2), np.diag([2.0, 2, 1, 1]))
        >>> moved_points({"a": np.array([[2.0, 3]])}, Grid((1, 4, 4), np.eye(4)), [], half)
        {'a': array([[1. , 1.5]])}
    """
    return {name: _moved(found, old, legs, new) for name, found in points.items()}


def moved_boxes(
    boxes: Mapping[str, Positions], old: Grid, legs: Sequence[Leg], new: Grid
) -> dict[str, Positions]:
    """Return, on another grid, the smallest upright boxes around boxes (n, 2, d) of a grid.

    Where the way bends, the middles of edges and faces are looked at too.

    Example:
        >>> import numpy as np
        >>> flipped = Grid((1, 4, 4), np.array([[-1.0, 0, 0, 3], *np.eye(4)[1:]]))
        >>> box = {"a": np.array([[[0.0, 0], [2, 1]]])}
        >>> moved_boxes(box, Grid((1, 4, 4), np.eye(4)), [], flipped)
        {'a': array([[[0., 3.], [2., 4.]]])}
    """
    found = {}
    for name, given in boxes.items():
        dimensions, stops = given.shape[2], 3 if legs else 2
        parts = np.indices((stops,) * dimensions).reshape(dimensions, -1).T / (stops - 1)
        places = given[:, :1] * (1 - parts) + given[:, 1:] * parts - 0.5
        turned = _moved(places, old, legs, new) + 0.5
        found[name] = np.stack([turned.min(axis=1), turned.max(axis=1)], axis=1)
    return found


def _moved(points: Positions, old: Grid, legs: Sequence[Leg], new: Grid) -> Positions:
    for before, after, function in legs:
        points = _moved(points, old, (), before)
        places = np.zeros((*points.shape[:-1], 3))
        places[..., : points.shape[-1]] = points[..., ::-1]
        there = function(places.reshape(-1, 3)).reshape(places.shape)
        points, old = there[..., : points.shape[-1]][..., ::-1], after
    if old is new or not points.size:
        return points
    matrix, dimensions = index_matrix(new, old), points.shape[-1]
    reversed_points = points[..., ::-1]
    linear = matrix[:dimensions, :dimensions]
    shifted = reversed_points @ linear.T + matrix[:dimensions, 3]
    return np.ascontiguousarray(shifted[..., ::-1])


def _checked(given: ArrayLike, shape: tuple[int, ...], what: str) -> Positions:
    found = np.array(given, np.float64)
    if not found.size:
        found = found.reshape(0, *shape)
    if found.shape[1:] != shape or found.ndim != 1 + len(shape) or not np.isfinite(found).all():
        expected = ", ".join(map(str, ("n", *shape)))
        raise GeometryError(
            f"expected {what} as finite numbers of shape ({expected}), received {found.shape}"
        )
    return found


def require_one_grid(images: list[Image]) -> None:
    """Refuse images that do not all stand on the same grid.

    Example:
        >>> import numpy as np
        >>> require_one_grid([Image(np.zeros((2, 2)), "yx"), Image(np.zeros((2, 3)), "yx")])
        Traceback (most recent call last):
        ecvl.errors.GeometryError: expected images and labels on one grid, ...
    """
    for image in images[1:]:
        if not image.grid.matches(images[0].grid):
            raise GeometryError(
                f"expected images and labels on one grid, received {images[0]!r} and {image!r}; "
                "use ecvl.resample(other, like=image) first"
            )


def _only(images: Mapping[str, Image], what: str) -> Image:
    if len(images) != 1:
        raise ParameterError(
            f"expected a sample with one entry in {what}, received {sorted(images)}; "
            f"take one by name: sample.{what}[name]"
        )
    return next(iter(images.values()))
