"""COCO documents there and back, and what is not one."""

import copy
import json
from typing import Any

import numpy as np
import pytest

import ecvl
from ecvl import FormatError, GeometryError, Image, KindError, ParameterError

RNG = np.random.default_rng(14)


def _pictures() -> dict[str, Image]:
    names = {1: "cyst", 4: "vessel"}
    made = {}
    for name, shape in (("a.png", (20, 24)), ("b.png", (9, 11))):
        array = np.where(RNG.random(shape) < 0.4, RNG.choice([1, 4], shape), 0).astype(np.uint8)
        made[name] = Image(array, "yx", kind="labels", label_names=names)
    return made


@pytest.mark.parametrize("segmentation", ["polygons", "rle", "compressed"])
@pytest.mark.parametrize("components", [False, True])
def test_there_and_back(segmentation: Any, components: bool) -> None:
    pictures = _pictures()
    document = ecvl.labels_to_coco(pictures, segmentation=segmentation, components=components)
    document = json.loads(json.dumps(document))
    back = ecvl.coco_to_labels(document)
    assert back.keys() == pictures.keys()
    for name, picture in pictures.items():
        assert np.array_equal(back[name].array, picture.array)
        assert back[name].label_names == {1: "cyst", 4: "vessel"}
    for row in document["annotations"]:
        assert row["area"] > 0 and len(row["bbox"]) == 4
    each = ecvl.coco_to_labels(document, instances=True)["a.png"].array
    assert np.array_equal(each > 0, pictures["a.png"].array > 0)


def test_a_document_as_others_write_them() -> None:
    document = {
        "info": {"year": 2017},
        "images": [{"id": 7, "file_name": "x.jpg", "width": 6, "height": 4}],
        "categories": [{"id": 3, "name": "cell", "supercategory": "thing"}],
        "annotations": [
            {
                "id": 1, "image_id": 7, "category_id": 3, "iscrowd": 0,
                "segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]], "bbox": [1, 1, 3, 2], "area": 6,
            },
            {"id": 2, "image_id": 7, "category_id": 3, "bbox": [5.0, 0.0, 1.0, 2.0]},
        ],
    }  # fmt: skip
    labels = ecvl.coco_to_labels(document)["x.jpg"]
    assert labels.array.tolist() == [
        [0, 0, 0, 0, 0, 3],
        [0, 3, 3, 3, 0, 3],
        [0, 3, 3, 3, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]
    assert ecvl.coco_to_labels(document, instances=True)["x.jpg"].array[0, 5] == 2


def _changed(path: Any, value: Any) -> Any:
    document = copy.deepcopy(ecvl.labels_to_coco(_pictures()))
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return document


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        {"images": {}, "annotations": [], "categories": []},
        _changed(("images",), [1]),
        _changed(("images", 0, "width"), 1 << 30),
        _changed(("images", 0, "width"), -1),
        _changed(("images", 0, "width"), "9"),
        _changed(("images", 0, "file_name"), None),
        _changed(("images", 0, "file_name"), "b.png"),
        _changed(("images", 0, "id"), 2),
        _changed(("annotations", 0, "image_id"), 99),
        _changed(("annotations", 0, "category_id"), 99),
        _changed(("annotations", 0, "category_id"), True),
        _changed(("annotations", 0, "segmentation"), "x"),
        _changed(("annotations", 0, "segmentation"), [[1, 2, 3]]),
        _changed(("annotations", 0, "segmentation"), [[1, 2, 3, 4, 5, 1e300]]),
        _changed(("annotations", 0, "segmentation"), {"size": [1, 1], "counts": [1]}),
        _changed(("annotations", 0, "segmentation", "counts"), [1]),
        _changed(("annotations", 0), {"image_id": 1, "category_id": 1, "bbox": [1, 2]}),
    ],
)
def test_hostile_documents_are_refused(document: Any) -> None:
    with pytest.raises(FormatError, match="expected"):
        ecvl.coco_to_labels(document)


def test_wrong_arguments_are_said() -> None:
    mask = Image(np.ones((2, 2), np.uint8), "yx", kind="labels", label_names={1: "a"})
    cases: list[tuple[Any, Any, str]] = [
        (lambda: ecvl.labels_to_coco(mask), ParameterError, "mapping"),
        (lambda: ecvl.labels_to_coco({"a": mask.replace(kind="image")}), KindError, "labels"),
        (lambda: ecvl.labels_to_coco({"a": mask}, segmentation="x"), ParameterError, "expected"),
        (
            lambda: ecvl.labels_to_coco({"a": mask, "b": mask.replace(label_names={1: "b"})}),
            ParameterError,
            "one name",
        ),
        (
            lambda: ecvl.labels_to_coco({"a": mask.replace(array=np.ones((1, 2, 2), np.uint8),
                                                          axes="zyx")}),
            GeometryError,
            "2-D",
        ),
    ]  # fmt: skip
    for act, error, message in cases:
        with pytest.raises(error, match=message):
            act()
