"""A sample: what belongs together and is augmented together, and what was done to it."""

from collections.abc import Mapping
from typing import Any

from ecvl.errors import GeometryError, ParameterError
from ecvl.grids import Grid
from ecvl.image import Image, require_kind


class Sample:
    """Named images and labels on one grid, with values that describe them.

    Args:
        images: an image (named "image"), or name to image.
        labels: labels (named "labels"), or name to labels; none by default.
        values: whatever else belongs to it, such as an age or a class.
        id: a name to report it by.
        group: what must not be split, such as a patient.

    Attributes:
        history: what was done to it, one plain mapping a step, oldest first.
        origin: the grid it had before anything was done to it.

    Raises:
        GeometryError: the images and labels do not stand on one grid.

    Example:
        >>> import numpy as np
        >>> sample = Sample(Image(np.zeros((4, 4)), "yx"), id="a")
        >>> sample.image.shape, sample.labels, sample.history
        ((4, 4), {}, ())
    """

    def __init__(
        self,
        images: Image | Mapping[str, Image],
        labels: Image | Mapping[str, Image] | None = None,
        values: Mapping[str, Any] | None = None,
        id: str | None = None,
        group: str | None = None,
    ) -> None:
        self.images = {"image": images} if isinstance(images, Image) else dict(images)
        self.labels = {"labels": labels} if isinstance(labels, Image) else dict(labels or {})
        self.values = dict(values or {})
        self.id = id
        self.group = group
        self.history: tuple[Mapping[str, Any], ...] = ()
        if not self.images:
            raise ParameterError("expected at least one image in a sample, received none")
        for name, image in self.images.items():
            require_kind(image, "image", f"Sample image {name!r}")
        for name, image in self.labels.items():
            require_kind(image, "labels", f"Sample labels {name!r}")
        require_one_grid([*self.images.values(), *self.labels.values()])
        self.origin = self.grid

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
    ) -> "Sample":
        """Return a sample with other images and labels that remembers where it came from.

        Example:
            >>> import numpy as np
            >>> sample = Sample(Image(np.zeros((4, 4)), "yx"))
            >>> sample.changed(sample.images, {}, ({"op": "Flip"},)).history
            ({'op': 'Flip'},)
        """
        result = Sample(images, labels, self.values, self.id, self.group)
        result.history = history
        result.origin = self.origin
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
        from ecvl.process.geometry import onto

        return self.changed(
            {name: onto(image, self.origin) for name, image in self.images.items()},
            {name: onto(image, self.origin) for name, image in self.labels.items()},
            (),
        )

    def __repr__(self) -> str:
        parts = [f"{name}={image!r}" for name, image in (self.images | self.labels).items()]
        return f"Sample(id={self.id!r}, {', '.join(parts)})"


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
