"""Batches from a dataset: shuffled, augmented and loaded ahead by threads.

* Order and bytes depend on the seed, the epoch and the data alone, not on the number of workers.
* At most a few batches are loaded ahead; leaving the loop stops the threads.
* `state_dict` and `load_state_dict` resume in the middle of an epoch, bit for bit.

Held by `tests/ecvl/test_loader.py`.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.augment.base import Augmentation, generator
from ecvl.dataset.dataset import Dataset
from ecvl.errors import GeometryError, ParameterError, SampleError, one_line
from ecvl.image import Image

VERSION = 1
BATCHES_AHEAD = 2
# An operation number that no augmentation reaches, for the order of the samples.
SHUFFLE = (1 << 64) - 1


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples that are trained on together.

    Attributes:
        images: float32, axes nc[z]yx.
        labels: int64, axes n[z]yx, or `None` where the data have none.
        ids: the samples' names.

    Example:
        >>> Batch(np.zeros((1, 1, 2, 2), np.float32), None, ("a",)).images.shape
        (1, 1, 2, 2)
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64] | None
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)


class Loader:
    """An iterable of batches; each pass is an epoch with its own order and augmentation.

    Args:
        data: a dataset of samples with one image and at most one label each.
        part: the name of a split, or `None` for all samples.
        batch_size: samples a batch.
        augment: an augmentation for each sample, or `None`.
        workers: threads that load ahead; 0 loads in the caller's.
        seed: the seed of order and augmentation.
        shuffle: a new order every epoch.
        drop_last: leave out a last batch that is smaller.

    Attributes:
        epoch: the number of the pass that the next batch belongs to.

    Raises:
        ParameterError: a number is out of range, or there is no such split.

    Example:
        >>> from ecvl.dataset import slices
        >>> data = slices(Image(np.zeros((5, 4, 4), np.int16), "zyx"))
        >>> loader = Loader(data, batch_size=2, workers=0)
        >>> len(loader), [batch.images.shape for batch in loader]
        (3, [(2, 3, 4, 4), (2, 3, 4, 4), (1, 3, 4, 4)])
    """

    def __init__(
        self,
        data: Dataset,
        part: str | None = None,
        *,
        batch_size: int = 8,
        augment: Augmentation | None = None,
        workers: int = 2,
        seed: int = 0,
        shuffle: bool = False,
        drop_last: bool = False,
    ) -> None:
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("workers", workers, 0),
            ("seed", seed, 0),
        ):
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**63:
                raise ParameterError(
                    f"expected {name} as a whole number from {least}, received {value!r}"
                )
        self._data = data
        self._part = data.part(part)
        self._batch_size = batch_size
        self._augment = augment
        self._workers = workers
        self._seed = seed
        self._shuffle = shuffle
        self._drop_last = drop_last
        self.epoch = 0
        self._position = 0
        self._resumes = False

    def __len__(self) -> int:
        """The number of batches of a whole pass."""
        if self._drop_last:
            return len(self._part) // self._batch_size
        return -(-len(self._part) // self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        if self._resumes:
            self._resumes = False
        elif self._position:
            # The pass before was left early; a new one has its own order and augmentation.
            self.epoch, self._position = self.epoch + 1, 0
        return self._batches(self.epoch, self._position)

    def state_dict(self) -> dict[str, Any]:
        """Return where the loader stands, as plain numbers: after the batch that was given last.

        Example:
            >>> Loader(Dataset([]), seed=3).state_dict()
            {'version': 1, 'epoch': 0, 'position': 0, 'seed': 3, 'samples': 0, 'batch_size': 8}
        """
        return {
            "version": VERSION,
            "epoch": self.epoch,
            "position": self._position,
            "seed": self._seed,
            "samples": len(self._part),
            "batch_size": self._batch_size,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to where another loader of the same data stood; the next pass goes on from there.

        Raises:
            ParameterError: the state belongs to other data, another seed or batch size.

        Example:
            >>> loader = Loader(Dataset([]))
            >>> loader.load_state_dict(loader.state_dict())
        """
        here = self.state_dict()
        if not isinstance(state, Mapping) or state.keys() != here.keys():
            raise ParameterError(f"expected a loader state with {', '.join(here)}")
        for name in ("version", "seed", "samples", "batch_size"):
            if state[name] != here[name]:
                raise ParameterError(
                    f"expected a loader state with {name}={here[name]}, received {state[name]!r}; "
                    "make the loader with the arguments it had"
                )
        epoch, position = state["epoch"], state["position"]
        if not all(isinstance(n, int) and n >= 0 for n in (epoch, position)) or (
            position > len(self)
        ):
            raise ParameterError(
                f"expected an epoch from 0 and a position from 0 to {len(self)}, received "
                f"{epoch!r} and {position!r}"
            )
        if position == len(self) and position:
            epoch, position = epoch + 1, 0
        self.epoch, self._position, self._resumes = epoch, position, True

    def _batches(self, epoch: int, start: int) -> Iterator[Batch]:
        order = self._part
        if self._shuffle:
            order = generator(self._seed, epoch, 0, SHUFFLE).permutation(order)
        wanted = [
            order[number * self._batch_size : (number + 1) * self._batch_size].tolist()
            for number in range(start, len(self))
        ]
        for number, samples in enumerate(self._loaded(wanted, epoch), start):
            self._position = number + 1
            yield _batch(samples)
        self.epoch, self._position = epoch + 1, 0

    def _loaded(self, wanted: list[list[int]], epoch: int) -> Iterator[list["_Arrays"]]:
        if not self._workers:
            for indices in wanted:
                yield [self._load(index, epoch) for index in indices]
            return
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="ecvl-loader")
        waiting: deque[list[Future[_Arrays]]] = deque()
        ahead = max(BATCHES_AHEAD, -(-self._workers // self._batch_size) + 1)
        try:
            for indices in wanted:
                waiting.append([pool.submit(self._load, index, epoch) for index in indices])
                if len(waiting) > ahead:
                    yield [future.result() for future in waiting.popleft()]
            while waiting:
                yield [future.result() for future in waiting.popleft()]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _load(self, index: int, epoch: int) -> "_Arrays":
        item = self._data.items[index]
        try:
            sample = item.load()
            if self._augment is not None:
                sample = self._augment(sample, seed=self._seed, epoch=epoch, sample=index)
            labels = _labels(sample.label) if sample.labels else None
            return _Arrays(_channels_first(sample.image), labels, item.id)
        except Exception as error:
            raise SampleError(
                f"the sample {item.id!r} could not be loaded: {one_line(error)}"
            ) from error


@dataclass(frozen=True, eq=False)
class _Arrays:
    """One sample as it goes into a batch."""

    image: NDArray[np.float32]
    labels: NDArray[np.int64] | None
    id: str


def _channels_first(image: Image) -> NDArray[np.float32]:
    if set(image.axes) - set("czyx"):
        raise GeometryError(f"expected an image with axes [c][z]yx, received {image.axes!r}")
    array = image.array
    if "c" in image.axes:
        array = np.moveaxis(array, image.axes.index("c"), 0)
    else:
        array = array[None]
    return array.astype(np.float32, copy=False)


def _labels(labels: Image) -> NDArray[np.int64]:
    if labels.axes != labels.spatial_axes:
        raise GeometryError(f"expected labels with axes [z]yx, received {labels.axes!r}")
    return labels.array.astype(np.int64)


def _batch(samples: list[_Arrays]) -> Batch:
    shapes = {sample.image.shape for sample in samples}
    if len(shapes) > 1:
        raise GeometryError(
            f"expected samples of one shape in a batch, received {sorted(shapes)}; crop or "
            "resample them alike, or use batch_size=1"
        )
    labels = [sample.labels for sample in samples if sample.labels is not None]
    if labels and len(labels) != len(samples):
        raise ParameterError(
            "expected labels for all samples of a batch or for none, received a mixture around "
            f"sample {samples[0].id!r}"
        )
    return Batch(
        np.stack([sample.image for sample in samples]),
        np.stack(labels) if labels else None,
        tuple(sample.id for sample in samples),
    )
