"""Labels of pictures as COCO's JSON and back (object detection form; cocodataset.org).

COCO counts from the upper left corner of the first pixel, x before y. Held by
`tests/ecvl/process/test_coco.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import EcvlError, FormatError, GeometryError, ParameterError, one_line
from ecvl.image import Image, require_kind
from ecvl.process.labels import numbered, outlines
from ecvl.process.polygons import inside_polygon
from ecvl.process.registry import processing
from ecvl.process.rle import MOST_PIXELS, decoded, encoded
from ecvl.serial import is_number

Shape = Literal["polygons", "rle", "compressed"]


@processing("value", "value", geometry="none", dtype="own", each=False)
def labels_to_coco(
    labels: Mapping[str, Image],
    *,
    segmentation: Shape = "rle",
    components: bool = False,
) -> dict[str, Any]:
    """Write the labels of pictures as a COCO document.

    Args:
        labels: file name to 2-D labels; each label is a category, named by `label_names` where
            there are any.
        segmentation: "rle" or "compressed" (exact), or "polygons" (exact too, along pixel edges,
            but holes and pieces that touch by corners cannot be told from others there: a label
            with holes is written as "rle").
        components: whether each connected region is an annotation of its own; else each label.

    Returns:
        Plain objects with "images", "annotations" (with area, bbox and segmentation) and
        "categories", for `json.dump`.

    Raises:
        KindError: something is not labels.
        GeometryError: labels are not 2-D.
        ParameterError: a label has two names.

    Example:
        >>> pixels, names = np.array([[0, 1]], np.uint8), {1: "cyst"}
        >>> mask = Image(pixels, "yx", kind="labels", label_names=names)
        >>> document = labels_to_coco({"a.png": mask})
        >>> document["categories"], document["annotations"][0]["bbox"]
        ([{'id': 1, 'name': 'cyst'}], [1, 0, 1, 1])
    """
    if segmentation not in ("polygons", "rle", "compressed"):
        raise ParameterError(
            f"expected segmentation 'polygons', 'rle' or 'compressed', received {segmentation!r}"
        )
    if not isinstance(labels, Mapping):
        raise ParameterError(
            f"expected a mapping from file names to labels, received {type(labels).__name__}"
        )
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    names: dict[int, str] = {}
    for number, (name, picture) in enumerate(labels.items(), 1):
        require_kind(picture, "labels", "labels_to_coco")
        if picture.axes != "yx":
            raise GeometryError(f"expected 2-D labels with axes 'yx', received {picture!r}")
        height, width = picture.shape
        images.append({"id": number, "file_name": str(name), "width": width, "height": height})
        for label in np.unique(picture.array[picture.array > 0]).tolist():
            given = (picture.label_names or {}).get(label, str(label))
            if names.setdefault(label, given) != given:
                raise ParameterError(
                    f"expected one name for label {label}, received {names[label]!r} and {given!r}"
                )
            whole = picture.array == label
            parts = numbered(whole[None].view(np.uint8), 2)[0] if components else whole
            for part in range(1, int(parts.max()) + 1):
                row = _annotation(parts == part, segmentation)
                annotations.append(
                    {"id": len(annotations) + 1, "image_id": number, "category_id": label, **row}
                )
    categories = [{"id": label, "name": name} for label, name in sorted(names.items())]
    return {"images": images, "annotations": annotations, "categories": categories}


@processing("value", "value", geometry="none", dtype="own", each=False)
def coco_to_labels(
    document: Any, *, instances: bool = False, most_pixels: int = MOST_PIXELS
) -> dict[str, Image]:
    """Read a COCO document as labels.

    Args:
        document: what `json.load` gave of a file of annotations.
        instances: whether each annotation is a label of its own (1, 2, ... in each picture, in the
            document's order); else labels are category numbers.
        most_pixels: of all pictures together, which are held in memory; a document says nothing
            about whether they are really that large.

    Returns:
        File name to 2-D labels (uint8, or int32 where numbers are larger) with `label_names`. Of
        overlapping annotations the later one wins. Annotations without segmentation are boxes.

    Raises:
        FormatError: the document is not COCO's, or refers to what is not there.

    Example:
        >>> mask = Image(np.array([[0, 1], [1, 1]], np.uint8), "yx", kind="labels")
        >>> document = labels_to_coco({"a.png": mask}, segmentation="polygons")
        >>> np.array_equal(coco_to_labels(document)["a.png"], mask)
        True
    """
    if not isinstance(document, Mapping):
        raise FormatError(f"expected a COCO document, received {type(document).__name__}")
    categories = {
        _whole(row, "id", 1): str(row.get("name", row["id"]))
        for row in _rows(document, "categories")
    }
    pictures: dict[int, Any] = {}
    total = 0
    for row in _rows(document, "images"):
        size = _whole(row, "height", 1), _whole(row, "width", 1)
        total += size[0] * size[1]
        if total > most_pixels:
            raise FormatError(
                f"expected at most {most_pixels:,} pixels in all pictures, received more; raise "
                "most_pixels= if they are really there, or read the document in parts"
            )
        name, number = row.get("file_name"), _whole(row, "id", 0)
        if not isinstance(name, str) or number in pictures:
            raise FormatError("expected a 'file_name' and an 'id' of its own for each image")
        pictures[number] = {"name": name, "size": size, "rows": []}
    if len({entry["name"] for entry in pictures.values()}) != len(pictures):
        raise FormatError("expected a file name of its own for each image")
    for row in _rows(document, "annotations"):
        image, category = _whole(row, "image_id", 0), _whole(row, "category_id", 1)
        if image not in pictures or category not in categories:
            raise FormatError(
                f"expected annotations of images and categories that are there, received one of "
                f"image {image} and category {category}"
            )
        pictures[image]["rows"].append((category, row))
    result = {}
    for entry in pictures.values():
        most = len(entry["rows"]) if instances else max(categories, default=0)
        array = np.zeros(entry["size"], np.uint8 if most < 256 else np.int32)
        names = {}
        for number, (category, row) in enumerate(entry["rows"], 1):
            label = number if instances else category
            names[label] = categories[category]
            array[_mask(row, entry["size"])] = label
        result[entry["name"]] = Image(
            array, "yx", kind="labels", label_names=names if instances else categories
        )
    return result


def _annotation(inside: NDArray[np.bool_], segmentation: Shape) -> dict[str, Any]:
    ys, xs = np.nonzero(inside)
    x, y = int(xs.min()), int(ys.min())
    row: dict[str, Any] = {
        "iscrowd": 0,
        "area": int(inside.sum()),
        "bbox": [x, y, int(xs.max()) + 1 - x, int(ys.max()) + 1 - y],
    }
    paths = outlines(inside) if segmentation == "polygons" else []
    if paths and not any(_signed_area(path) > 0 for path in paths):
        # From pixel centres and (y, x) to the first pixel's corner and x, y, x, y, ...
        row["segmentation"] = [(path[:, ::-1] + 0.5).reshape(-1).tolist() for path in paths]
    else:
        row["segmentation"] = encoded(
            inside, "compressed" if segmentation == "compressed" else "coco"
        )
    return row


def _signed_area(path: NDArray[np.float64]) -> float:
    y, x = path.T
    return float((y * np.roll(x, -1) - x * np.roll(y, -1)).sum())


def _mask(row: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    shape = row.get("segmentation")
    try:
        if isinstance(shape, Mapping):
            return decoded(shape, size, None)
        result = np.zeros(size, bool)
        if isinstance(shape, Sequence) and not isinstance(shape, str) and len(shape):
            for numbers in shape:
                result |= inside_polygon(_path(numbers), size)
            return result
        if shape is not None and shape != []:
            raise FormatError("expected a segmentation as polygons or run lengths")
        x, y, width, height = _numbers(row.get("bbox"), 4)
        box = np.array([(y, x), (y, x + width), (y + height, x + width), (y + height, x)]) - 0.5
        return inside_polygon(box, size)
    except EcvlError as error:
        raise FormatError(
            f"annotation {str(row.get('id'))[:20]} cannot be read: {one_line(error)}"
        ) from None


def _path(numbers: Any) -> NDArray[np.float64]:
    values = _numbers(numbers, None)
    if len(values) < 6 or len(values) % 2:
        raise FormatError(f"expected polygons of x, y pairs, received {len(values)} numbers")
    return np.array(values, np.float64).reshape(-1, 2)[:, ::-1] - 0.5


def _numbers(values: Any, count: int | None) -> list[float]:
    if (
        not isinstance(values, list | tuple)
        or (count is not None and len(values) != count)
        or not all(is_number(value) and abs(value) < 1e9 for value in values)
    ):
        raise FormatError("expected a list of finite numbers in an annotation")
    return list(values)


def _rows(document: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    rows = document.get(key)
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise FormatError(f"expected a list of objects under {key!r} of a COCO document")
    return rows


def _whole(row: Mapping[str, Any], key: str, least: int) -> int:
    value = row.get(key)
    if type(value) is not int or not least <= value < 1 << 31:
        raise FormatError(
            f"expected {key!r} as a whole number from {least}, received {str(value)[:40]!r}"
        )
    return value
