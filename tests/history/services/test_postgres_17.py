"""The ledger checks on PostgreSQL 17, as in the containers."""

import random

import pytest

from alpha.postgres.database import connect
from alpha.postgres.fills import insert_fills, recompute_pending
from alpha.postgres.ledger import verify
from tests.history.build import new_account
from tests.history.compare import expected, stored
from tests.history.readme import make_sample, other_columns
from tests.history.reference import books
from tests.history.services.conftest import Seventeen
from tests.support.fill_generator import some_fills

pytestmark = [pytest.mark.containers, pytest.mark.timeout(600)]


async def test_late_fills_in_random_order_give_the_books_of_the_reference(fresh_seventeen: Seventeen) -> None:
    settings = fresh_seventeen.settings
    connection = await connect(settings, "tests")
    account = await new_account(connection)
    rows = some_fills(9, 3_000, account)
    parts = [rows[at : at + 50] for at in range(0, len(rows), 50)]
    random.Random(9).shuffle(parts)
    for part in parts:
        await insert_fills(connection, part)
    await recompute_pending(connection)
    assert await stored(connection, account, "BTCUSDT") == expected(books(rows))
    await connection.close()
    assert (await verify(settings, lambda fills: None)).differences == []


async def test_the_queries_of_the_readme_return_the_columns_that_are_shown(fresh_seventeen: Seventeen) -> None:
    settings = fresh_seventeen.settings
    await make_sample(settings)
    assert not other_columns(settings)
