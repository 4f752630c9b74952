"""What the recorder cannot read is in `audit.rejected_messages`, whole, in a real PostgreSQL and with the recorder's own role."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from alpha.config.loader import load
from alpha.postgres.database import connect
from alpha.postgres.migrate import MigrateSettings, run
from demo.postgres import EmbeddedPostgres
from tests.support.world import ROOT, until
from tick_recorder.tests.conftest import RecorderMaker
from tick_recorder.tests.exchange import TickExchange

OWNER_PASSWORD = "password-of-the-owner"
ROLE_PASSWORD = "password-of-the-recorder"
TORN = b'{"topic":"publicTrade.BTCUSDT","data":[{"T":1'


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server that is not started yet."""
    server = EmbeddedPostgres(tmp_path / "postgres", OWNER_PASSWORD, durable=False)
    yield server
    server.stop("immediate")


async def test_what_cannot_be_read_is_stored_whole_as_soon_as_postgresql_is_there(
    recorder: RecorderMaker, exchange: TickExchange, postgres: EmbeddedPostgres
) -> None:
    process = recorder(
        exchange, postgres_port=str(postgres.port), postgres_user="alpha_ticks", postgres_password=ROLE_PASSWORD
    )
    await recorder.listening(exchange, 4)
    exchange.trade("BTCUSDT", 2, p="much\0")
    exchange.send("publicTrade.BTCUSDT", TORN)

    async def noticed() -> bool:
        return process.said().count('"event":"rejected"') + process.said().count('"event": "rejected"') >= 2

    await until(noticed, 30, "both messages to be noticed while there is no PostgreSQL")

    postgres.start()
    arguments = {name.lower(): value for name, value in postgres.environment().items()}
    await run(
        load(
            MigrateSettings,
            env_file=None,
            bots_file=ROOT / "bots.toml",
            alpha_ticks_db_password=ROLE_PASSWORD,
            **arguments,
        )
    )
    owner = await connect(postgres.settings(), "tests")

    async def stored() -> bool:
        return int(await owner.fetchval("SELECT count(*) FROM audit.rejected_messages")) >= 2

    await until(stored, 60, "both messages to be in PostgreSQL")
    rows = await owner.fetch("SELECT source, bot_id, account_id, fault, message FROM audit.rejected_messages")
    await owner.close()
    assert [(row["source"], row["bot_id"], row["account_id"]) for row in rows] == [("tick stream", None, None)] * 2
    messages = {row["message"] for row in rows}
    assert TORN.decode() in messages
    # of the two trades the one that cannot be read, and NUL, which PostgreSQL cannot hold, as its symbol or escaped
    (row,) = messages - {TORN.decode()}
    assert "much" in row
    assert all(one["fault"] for one in rows)
    assert (await recorder.health())[0] == 200
