"""Tensors of PyTorch go in as they are."""

import numpy as np
import pytest
import torch

import eddl
from eddl import layers


def test_a_torch_tensor_is_read_without_a_copy():
    tensor = torch.arange(12.0).reshape(3, 4)
    array = eddl.tensors.as_host_array(tensor)
    assert array.ctypes.data == tensor.data_ptr()
    x = eddl.Input((4,))
    net = eddl.Model(x, layers.relu(x))
    result = net.predict(tensor)
    np.testing.assert_array_equal(result, tensor.numpy())
    assert not np.shares_memory(result, array)


def test_torch_tensors_train_and_a_tensor_that_needs_detaching_is_named():
    x = eddl.Input((4,))
    net = eddl.Model(x, layers.dense(x, 2))
    net.build(optimizer=eddl.SGD(0.1), loss="categorical_cross_entropy")
    net.train_batch(torch.zeros(3, 4), torch.tensor([0, 1, 0]))
    with pytest.raises(eddl.EddlError, match="grad"):
        net.predict(torch.zeros(3, 4, requires_grad=True))


def test_bfloat16_is_refused_with_its_name():
    with pytest.raises(eddl.EddlError, match=r"(?i)bfloat16"):
        eddl.tensors.as_host_array(torch.zeros(3, dtype=torch.bfloat16))
