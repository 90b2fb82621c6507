import numpy as np
import pytest

import ecvl
from deephealth import Tool


@pytest.fixture
def labels():
    return ecvl.Image(np.array([[[0, 1, 2], [3, 7, 7]]], np.uint8), "zyx", kind="labels")


def test_labels_are_grouped_in_the_order_of_the_groups(labels):
    groups = {"spleen": [3], "bones": [7, 1, 99]}
    grouped = Tool("group_labels").set(labels=labels, groups=groups).run().value
    assert np.asarray(grouped).tolist() == [[[0, 2, 0], [1, 2, 2]]]
    assert grouped.label_names == {0: "background", 1: "spleen", 2: "bones"}
    assert np.array_equal(grouped.affine, labels.affine)


def test_negative_labels_are_refused(labels):
    negative = labels.replace(array=np.asarray(labels).astype(np.int16) - 1)
    assert "label -1" in Tool("group_labels").set(labels=negative, groups={"a": [1]}).run().reason


def test_a_volume_is_read_from_a_path_and_from_inside_a_folder(tmp_path):
    scan = ecvl.Image(np.zeros((2, 3, 4), np.int16), "zyx", np.diag([-1, 1, 2, 1]))
    ecvl.NiftiWrite(tmp_path / "ct.nii.gz", scan)
    for settings in (
        {"source": tmp_path / "ct.nii.gz"},
        {"source": tmp_path, "member": "ct.nii.gz"},
    ):
        assert Tool("read_image").set(**settings).run().value.orientation == "LAS"
    outside = Tool("read_image").set(source=tmp_path / "ct.nii.gz", member="../../etc").run()
    assert "leads outside" in outside.reason


def test_labels_are_written_on_their_grid(labels, tmp_path):
    path = tmp_path / "labels.nii.gz"
    Tool("write_labels").set(labels=labels, path=path).run()
    found = Tool("read_labels").set(source=path).run().value
    assert np.array_equal(found, labels)
    assert found.kind == "labels"
