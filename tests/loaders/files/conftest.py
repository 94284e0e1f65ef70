"""All tests of files share a warehouse that is emptied between them: making one takes a second."""

from collections.abc import Iterator

import pytest
from support import Warehouse, database

from local.postgres import EmbeddedPostgres


@pytest.fixture(scope="module")
def shared(server: EmbeddedPostgres, template: str) -> Iterator[Warehouse]:
    with database(server, template) as prepared:
        yield prepared


@pytest.fixture
def warehouse(shared: Warehouse) -> Warehouse:
    """A prepared warehouse with no order lines, whose next delivery has the number 1."""
    shared.query(
        "truncate staging.user_order_log, staging.delivery, staging.delivery_day,"
        " staging.quarantine restart identity"
    )
    return shared
