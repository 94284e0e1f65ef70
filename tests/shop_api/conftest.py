"""The stand-in on a thread: a common one for tests that only read, or one with own settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from shop_client import KEY, TODAY, ShopClient

from shop_api.generated import GeneratedSource
from shop_api.server import serve
from shop_api.shop import Shop

StartShop = Callable[..., ShopClient]


@pytest.fixture(scope="session")
def shop() -> Iterator[ShopClient]:
    """A shop with generated orders, whose reports finish at once."""
    source = GeneratedSource()
    with serve(Shop(source, today=TODAY, api_key=KEY, running_seconds=0)) as base_url:
        yield ShopClient(base_url)


@pytest.fixture
def start_shop() -> Iterator[StartShop]:
    """A function that starts a shop with the given settings until the end of the test."""
    with ExitStack() as stack:

        def start(source: Any = None, **settings: Any) -> ShopClient:
            settings = {"today": TODAY, "api_key": KEY, "running_seconds": 0, **settings}
            shop = Shop(source or GeneratedSource(), **settings)
            return ShopClient(stack.enter_context(serve(shop)))

        yield start
