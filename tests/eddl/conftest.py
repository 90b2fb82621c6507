"""What tests of several rooms of eddl share."""

import pytest

from eddl import devices
from eddl.errors import DeviceError


@pytest.fixture(params=["array", "onednn"])
def device(request):
    """Each backend of the processor that this machine has."""
    try:
        devices.backend(f"cpu:{request.param}")
    except DeviceError as error:
        pytest.skip(str(error))
    return f"cpu:{request.param}"
