"""Run lengths: masks as text and back, down the columns of a plane.

| form | a mask [[0, 1], [0, 1]] | who writes it |
|---|---|---|
| "coco" | {"size": [2, 2], "counts": [2, 2]}: runs of 0 and 1 in turn, 0 first | COCO |
| "compressed" | {"size": [2, 2], "counts": "22"}: the same as text of 6-bit characters | COCO |
| "starts" | "3 2": pairs of a start, counted from 1, and a length | Kaggle |
| "gaps" | "2 2": pairs of a gap after the last run and a length | SIIM-ACR, TorchXRayVision |

Held by `tests/ecvl/process/test_rle.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import FormatError, GeometryError, ParameterError
from ecvl.image import Image, require_kind
from ecvl.process.registry import processing

Form = Literal["coco", "compressed", "starts", "gaps"]

FORMS = ("coco", "compressed", "starts", "gaps")
# A plane of 32,768 x 32,768 pixels; more is a wrong number in a file.
MOST_PIXELS = 1 << 30


@processing("labels", "value", geometry="none", dtype="own", each=False)
def labels_to_rle(labels: Image, label: int = 1, form: Form = "coco") -> Any:
    """Write one label of a plane as run lengths.

    Args:
        labels: labels of one y-x plane (a volume of one slice will do).
        label: the one to write.
        form: "coco", "compressed", "starts" or "gaps"; see the table above.

    Returns:
        A mapping with "size" (height, width) and "counts", or text of whole numbers.

    Raises:
        KindError: an image was given.
        GeometryError: there is more than one plane.

    Example:
        >>> mask = Image(np.array([[0, 1], [0, 1]], np.uint8), "yx", kind="labels")
        >>> labels_to_rle(mask), labels_to_rle(mask, form="starts")
        ({'size': [2, 2], 'counts': [2, 2]}, '3 2')
    """
    require_kind(labels, "labels", "labels_to_rle")
    if form not in FORMS:
        raise ParameterError(f"expected form among {', '.join(FORMS)}, received {form!r}")
    height, width = (labels.shape[labels.axes.index(letter)] for letter in "yx")
    if labels.array.size != height * width:
        raise GeometryError(f"expected one y-x plane, received {labels.axes!r} {labels.shape}")
    return encoded(labels.array.reshape(height, width) == label, form)


@processing("value", "labels", geometry="none", dtype="own", each=False)
def rle_to_labels(
    rle: Any,
    like: Image | Sequence[int] | None = None,
    *,
    label: int = 1,
    form: Form | None = None,
) -> Image:
    """Read run lengths as labels.

    Args:
        rle: what `labels_to_rle` gave.
        like: an image of one plane whose place and size to take, or (height, width); "coco" and
            "compressed" have a size of their own, which must be the same.
        label: the value of the runs, 1 to 255.
        form: "starts" or "gaps" for text; a mapping says itself what it is.

    Returns:
        Labels (uint8) of one plane.

    Raises:
        FormatError: runs reach beyond the plane, overlap, or are not whole numbers.
        ParameterError: size or form are not known.

    Example:
        >>> np.asarray(rle_to_labels("3 2", (2, 2), form="starts"))
        array([[0, 1],
               [0, 1]], dtype=uint8)
    """
    if isinstance(label, bool) or not isinstance(label, int) or not 1 <= label <= 255:
        raise ParameterError(f"expected a label from 1 to 255, received {label!r}")
    size: tuple[int, ...] | None = None
    if isinstance(like, Image):
        size = tuple(like.shape[like.axes.index(letter)] for letter in "yx")
        if size[0] * size[1] != like.array.size:
            raise GeometryError(f"expected an image of one plane, received {like!r}")
    elif like is not None:
        size = tuple(like)
    inside = decoded(rle, size, form).astype(np.uint8) * np.uint8(label)
    if not isinstance(like, Image):
        return Image(inside, "yx", kind="labels")
    return Image(inside.reshape(like.shape), like.axes, like.affine, kind="labels")


def encoded(inside: NDArray[np.bool_], form: Form) -> Any:
    """Return a mask (yx) as run lengths.

    Example:
        >>> encoded(np.array([[True]]), "gaps")
        '0 1'
    """
    column = inside.reshape(-1, order="F")
    edges = np.flatnonzero(np.diff(column, prepend=False, append=False))
    starts, stops = edges[::2], edges[1::2]
    if form in ("starts", "gaps"):
        firsts = starts + 1 if form == "starts" else starts - np.concatenate([[0], stops[:-1]])
        pairs = np.stack([firsts[: len(starts)], stops - starts], axis=1)
        return " ".join(map(str, pairs.reshape(-1).tolist()))
    counts = np.diff(np.concatenate([[0], edges, [column.size]])).tolist()
    if counts[-1] == 0:
        counts.pop()
    size = list(inside.shape)
    return {"size": size, "counts": counts if form == "coco" else _packed(counts)}


def decoded(rle: Any, size: Sequence[int] | None, form: Form | None) -> NDArray[np.bool_]:
    """Return run lengths as a mask (yx).

    Example:
        >>> decoded({"size": [1, 2], "counts": "11"}, None, None)
        array([[False,  True]])
    """
    if isinstance(rle, Mapping):
        own = _checked_size(rle.get("size"))
        if size is not None and own != _checked_size(size):
            raise FormatError(f"expected run lengths for {tuple(size)} pixels, received {own}")
        counts = rle.get("counts")
        if isinstance(counts, bytes):
            counts = counts.decode("latin-1")
        runs = _unpacked(counts, own[0] * own[1]) if isinstance(counts, str) else _whole(counts)
        if int(runs.sum()) != own[0] * own[1]:
            raise FormatError(
                f"expected runs of {own[0] * own[1]} pixels in all, received {runs.sum()}"
            )
        values = np.arange(len(runs)) % 2 == 1
        return np.asarray(np.repeat(values, runs).reshape(own, order="F"))
    if not isinstance(rle, str) or form not in ("starts", "gaps"):
        raise ParameterError(
            "expected run lengths as a mapping with 'size' and 'counts', or text with "
            f"form='starts' or 'gaps', received {type(rle).__name__} and form={form!r}"
        )
    if size is None:
        raise ParameterError("expected like= for run lengths that do not know their size")
    height, width = _checked_size(size)
    if len(rle) > 24 * height * width + 24:
        raise FormatError("expected text that fits the plane, received more runs than pixels")
    try:
        numbers = _whole([int(word) for word in rle.split()])
    except ValueError:
        raise FormatError("expected whole numbers in run lengths, received other text") from None
    if numbers.tolist() == [-1]:
        numbers = numbers[:0]
    if len(numbers) % 2:
        raise FormatError(f"expected pairs of numbers, received {len(numbers)} numbers")
    firsts, lengths = numbers[::2], numbers[1::2]
    if form == "gaps":
        starts = np.cumsum(firsts) + np.concatenate([[0], np.cumsum(lengths)[:-1]])[: len(firsts)]
    else:
        starts = firsts - 1
    stops = starts + lengths
    if (
        (starts < 0).any()
        or (lengths < 0).any()
        or (stops > height * width).any()
        or (starts[1:] < stops[:-1]).any()
    ):
        raise FormatError(
            f"expected ascending runs within {height} x {width} pixels, received others"
        )
    change = np.zeros(height * width + 1, np.int8)
    np.add.at(change, starts, 1)
    np.add.at(change, stops, -1)
    return np.asarray((np.cumsum(change[:-1]) > 0).reshape((height, width), order="F"))


def _checked_size(size: Any) -> tuple[int, int]:
    if (
        not isinstance(size, Sequence)
        or len(size) != 2
        or not all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in size)
        or min(size) < 1
        or size[0] * size[1] > MOST_PIXELS
    ):
        raise FormatError(f"expected a size as (height, width), received {str(size)[:60]!r}")
    return int(size[0]), int(size[1])


def _whole(counts: Any) -> NDArray[np.int64]:
    if not isinstance(counts, Sequence) or not all(type(n) is int for n in counts):
        raise FormatError("expected run lengths as whole numbers, received others")
    if any(not -1 <= n <= MOST_PIXELS for n in counts):
        raise FormatError(f"expected run lengths from 0 to {MOST_PIXELS:,}, received others")
    runs = np.array(counts, np.int64)
    if (runs < 0).any() and runs.tolist() != [-1]:
        raise FormatError("expected run lengths from 0, received negative ones")
    return runs


def _packed(counts: Sequence[int]) -> str:
    """COCO's text: each number less the one two before, 5 bits a character, lowest first."""
    text = []
    for index, count in enumerate(counts):
        rest = count - counts[index - 2] if index > 2 else count
        while True:
            low, rest = rest & 31, rest >> 5
            last = rest == (-1 if low & 16 else 0)
            text.append(chr((low if last else low | 32) + 48))
            if last:
                break
    return "".join(text)


def _unpacked(text: str, most: int) -> NDArray[np.int64]:
    counts: list[int] = []
    number, shift = 0, 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 60 or len(counts) > most + 1:
            raise FormatError("expected COCO's text of run lengths, received other characters")
        number |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            number -= 1 << shift
        counts.append(number + counts[-2] if len(counts) > 2 else number)
        number, shift = 0, 0
    if shift:
        raise FormatError("expected whole run lengths, received text that is cut off")
    runs = _whole(counts)
    if (runs < 0).any():
        raise FormatError("expected run lengths from 0, received negative ones")
    return runs
