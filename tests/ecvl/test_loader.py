"""The loader: the same bytes with any number of workers, resumed anywhere, stopped at once."""

import json
import threading
import time
from typing import Any

import numpy as np
import pytest

from ecvl import (
    Batch,
    Dataset,
    GeometryError,
    Image,
    Loader,
    ParameterError,
    Sample,
    SampleError,
    augment,
    slices,
)

TURN = augment.Sequential(
    [augment.Rotate((-10, 10)), augment.Flip(p=0.5), augment.GammaContrast((0.5, 2))]
)


@pytest.fixture
def data(volume: Any) -> Dataset:
    scan, labels = volume((45, 8, 9)), volume((45, 8, 9), kind="labels", dtype=np.uint8)
    return slices(scan, labels, id="a").split_blocks()


def _loader(data: Dataset, workers: int = 2, **options: Any) -> Loader:
    options = {"batch_size": 4, "augment": TURN, "seed": 1, "shuffle": True} | options
    return Loader(data, "training", workers=workers, **options)


def _bytes(batches: list[Batch]) -> list[Any]:
    assert all(batch.labels is not None for batch in batches)
    return [
        (b.images.tobytes(), b.labels.tobytes() if b.labels is not None else b"", b.ids)
        for b in batches
    ]


def _threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("ecvl-loader")]


def test_batches_are_what_training_takes(data: Dataset) -> None:
    loader = _loader(data)
    batches = list(loader)
    assert len(batches) == len(loader) == -(-len(data.part("training")) // 4)
    assert batches[0].images.shape == (4, 3, 8, 9)
    assert batches[0].images.dtype == np.float32
    assert batches[0].labels is not None
    assert batches[0].labels.shape == (4, 8, 9)
    assert batches[0].labels.dtype == np.int64
    names = sorted(name for batch in batches for name in batch.ids)
    assert names == sorted(data.items[i].id for i in data.part("training"))
    assert sum(len(batch) for batch in _loader(data, drop_last=True)) % 4 == 0
    assert len(_loader(data, drop_last=True)) == len(data.part("training")) // 4


def test_order_and_bytes_do_not_depend_on_the_workers(data: Dataset) -> None:
    expected = _bytes(list(_loader(data, workers=0)))
    for workers in (1, 2, 5):
        assert _bytes(list(_loader(data, workers=workers))) == expected


def test_epochs_differ_and_repeat(data: Dataset) -> None:
    first, second = _loader(data), _loader(data)
    assert first.epoch == 0
    epochs = [_bytes(list(first)) for _ in range(3)]
    assert first.epoch == 3
    assert epochs[0] != epochs[1] != epochs[2]
    assert [_bytes(list(second)) for _ in range(3)] == epochs
    assert _bytes(list(_loader(data, seed=2))) != epochs[0]
    plain = _loader(data, shuffle=False, augment=None)
    assert _bytes(list(plain)) == _bytes(list(plain))
    ids = [name for batch in plain for name in batch.ids]
    assert ids == [data.items[i].id for i in data.part("training")]


@pytest.mark.parametrize("stop", [0, 1, 3, 100])
@pytest.mark.parametrize("workers", [0, 2])
def test_it_resumes_in_the_middle_bit_for_bit(data: Dataset, stop: int, workers: int) -> None:
    whole = _loader(data)
    expected = _bytes([*whole, *whole])
    interrupted = _loader(data, workers=workers)
    seen: list[Batch] = []
    state = interrupted.state_dict()
    while len(seen) < min(stop, len(interrupted)):
        for batch in interrupted:
            seen.append(batch)
            state = json.loads(json.dumps(interrupted.state_dict()))
            if len(seen) == stop:
                break
    resumed = _loader(data, workers=workers)
    resumed.load_state_dict(state)
    while len(seen) < 2 * len(resumed):
        seen.extend(resumed)
    assert _bytes(seen) == expected


def test_a_pass_that_was_left_is_not_repeated(data: Dataset) -> None:
    loader = _loader(data)
    for _ in loader:
        break
    second = _bytes(list(loader))
    fresh = _loader(data)
    list(fresh)
    assert second == _bytes(list(fresh))


def test_a_state_of_something_else_is_refused(data: Dataset) -> None:
    state = _loader(data).state_dict()
    for change in (
        {"seed": 2},
        {"samples": 3},
        {"batch_size": 3},
        {"version": 9},
        {"position": 999},
        {"epoch": -1},
        {"epoch": "1"},
        {"more": 1},
    ):
        with pytest.raises(ParameterError, match="expected"):
            _loader(data).load_state_dict(state | change)


class _Item:
    """A slow or broken sample."""

    group, volume, reach = None, "slow", 0

    def __init__(self, number: int, broken: bool = False, shape: Any = (4, 4)) -> None:
        self.position, self.broken, self.shape = number, broken, shape
        self.id = f"slow/{number}"

    def load(self) -> Sample:
        time.sleep(0.02)
        if self.broken:
            raise ValueError("no such\nthing")
        return Sample(Image(np.zeros(self.shape, np.float32), "yx"), id=self.id)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_names_the_sample(workers: int) -> None:
    data = Dataset([_Item(n, broken=n == 5) for n in range(40)])
    with pytest.raises(SampleError, match=r"'slow/5'.*no such thing") as caught:
        list(Loader(data, batch_size=2, workers=workers))
    assert isinstance(caught.value.__cause__, ValueError)
    assert not _threads()


def test_threads_stop_when_the_loop_is_left() -> None:
    data = Dataset([_Item(n) for n in range(400)])
    started = time.monotonic()
    for batch in Loader(data, batch_size=2, workers=2):
        assert batch.labels is None
        assert _threads()
        break
    assert time.monotonic() - started < 1
    assert not _threads()


def test_little_is_loaded_ahead() -> None:
    loaded: list[int] = []

    class Counting(_Item):
        def load(self) -> Sample:
            loaded.append(self.position)
            return super().load()

    data = Dataset([Counting(n) for n in range(100)])
    for _ in Loader(data, batch_size=2, workers=2):
        time.sleep(0.3)
        break
    assert len(loaded) <= 10


def test_volumes_and_flat_images_become_batches(volume: Any) -> None:
    class Volume(_Item):
        def load(self) -> Sample:
            return Sample(volume((3, 4, 5)), volume((3, 4, 5), kind="labels"), id=self.id)

    batch = next(iter(Loader(Dataset([Volume(0), Volume(1)]), batch_size=2)))
    assert batch.images.shape == (2, 1, 3, 4, 5)
    assert batch.labels is not None
    assert batch.labels.shape == (2, 3, 4, 5)


def test_what_does_not_fit_is_said(data: Dataset) -> None:
    for options in ({"batch_size": 0}, {"workers": -1}, {"seed": -1}, {"batch_size": 1.5}):
        with pytest.raises(ParameterError, match="whole number"):
            _loader(data, **options)
    with pytest.raises(ParameterError, match="split"):
        Loader(data, "validation")

    class Timed(_Item):
        def load(self) -> Sample:
            return Sample(Image(np.zeros((2, 4, 4)), "tyx"), id=self.id)

    class Labelled(_Item):
        def load(self) -> Sample:
            image = Image(np.zeros((4, 4), np.float32), "yx")
            return Sample(image, Image(np.zeros((4, 4), int), "yx", kind="labels"), id=self.id)

    with pytest.raises(SampleError, match=r"'slow/0'.*tyx"):
        list(Loader(Dataset([Timed(0)])))
    with pytest.raises(ParameterError, match="labels for all"):
        list(Loader(Dataset([Labelled(0), _Item(1)])))
    mixed = Dataset([_Item(0), _Item(1, shape=(5, 5))])
    with pytest.raises(GeometryError, match="one shape"):
        list(Loader(mixed, batch_size=2))
