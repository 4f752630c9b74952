"""The same books on PostgreSQL 17, as the containers run it."""

import asyncio
import random
from collections.abc import Iterator

import pytest

from alpha.db.books import verify
from alpha.db.fills import insert_fills, settle_late_fills
from alpha.db.migrate import MigrateSettings
from alpha.db.migrate import run as migrate
from alpha.db.pool import connect
from alpha.settings import load
from tests.history.build import new_account
from tests.history.compare import expected, stored
from tests.history.containers import ROOT, Network, engine_answers, port_of, wait_until_healthy
from tests.history.generator import some_fills
from tests.history.readme import README, answer, make_sample, queries
from tests.history.reference import books
from tests.history.roles import PASSWORDS

pytestmark = [
    pytest.mark.containers,
    pytest.mark.skipif(not engine_answers(), reason="no Docker engine answers"),
    pytest.mark.timeout(600),
]


@pytest.fixture
def seventeen() -> Iterator[MigrateSettings]:
    """A migrated database on PostgreSQL 17."""
    network = Network()
    try:
        postgres = network.run(
            "postgres:17",
            "postgres",
            {"POSTGRES_USER": "trading_user", "POSTGRES_DB": "trading_db", "POSTGRES_PASSWORD": "seventeen"},
            "--publish=127.0.0.1:0:5432",
            "--health-cmd=pg_isready -h 127.0.0.1 -U trading_user -d trading_db",
            "--health-interval=1s",
        )
        wait_until_healthy(postgres)
        settings = load(
            MigrateSettings,
            env_file=None,
            postgres_host="127.0.0.1",
            postgres_port=port_of(postgres, 5432),
            postgres_user="trading_user",
            postgres_db="trading_db",
            postgres_password="seventeen",
            bots_file=ROOT / "bots.toml",
            **{f"{role}_db_password": password for role, password in PASSWORDS.items()},
        )
        asyncio.run(migrate(settings))
        yield settings
    finally:
        network.close()


async def test_late_fills_in_random_order_give_the_books_of_the_reference(seventeen: MigrateSettings) -> None:
    connection = await connect(seventeen, "tests")
    account = await new_account(connection)
    rows = some_fills(9, 3_000, account)
    parts = [rows[at : at + 50] for at in range(0, len(rows), 50)]
    random.Random(9).shuffle(parts)
    for part in parts:
        await insert_fills(connection, part)
    await settle_late_fills(connection)
    assert await stored(connection, account, "BTCUSDT") == expected(books(rows))
    await connection.close()
    assert (await verify(seventeen, lambda fills: None)).differences == []


async def test_the_queries_of_the_readme_give_the_same_output(seventeen: MigrateSettings) -> None:
    await make_sample(seventeen)
    wrong = [
        query for query, output in queries(README.read_text(encoding="utf-8")) if answer(seventeen, query) != output
    ]
    assert not wrong
