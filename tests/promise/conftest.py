"""Fixtures of the tests of the promise: after whatever happens, the marts equal a fresh build."""

import pytest
from promise import Shop
from support import Deliver, Warehouse


@pytest.fixture
def shop(warehouse: Warehouse, deliver: Deliver) -> Shop:
    """Deliveries into this test's warehouse."""
    return Shop(warehouse, deliver)
