"""A volume that is still in its file is predicted as one that is in memory."""

import numpy as np

import ecvl
import eddl


def test_windows_of_a_lazy_image_equal_those_of_its_voxels(tmp_path):
    voxels = np.random.default_rng(0).integers(-99, 99, (20, 12, 11)).astype(np.int16)
    ecvl.write(tmp_path / "scan.nii.gz", ecvl.Image(voxels, "zyx"))
    x = eddl.Input((1, None, None, None))
    net = eddl.Model(x, eddl.layers.conv(x, 2, 3))
    lazy = ecvl.read(tmp_path / "scan.nii.gz", lazy=True)
    found = net.predict_windows(lazy, 8)
    np.testing.assert_array_equal(found, net.predict_windows(voxels, 8))
    np.testing.assert_array_equal(found, net.predict_windows(ecvl.Image(voxels, "zyx"), 8))
