"""`alpha db verify` finds everything that differs from the fills, `alpha db rebuild` repairs it."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from alpha.config.services import DatabaseSettings
from alpha.postgres.database import Connection, connect
from alpha.postgres.fills import insert_fills
from alpha.postgres.ledger import rebuild, verify
from demo.postgres import EmbeddedPostgres
from tests.history.build import fill, new_account
from tests.history.conftest import of, run
from tests.support import forkserver
from tests.support.fill_generator import some_fills
from tests.support.fixtures import COPY

ROOT = Path(__file__).resolve().parents[2]
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


@pytest.fixture(scope="module")
def history_filled(postgres_server: EmbeddedPostgres, history_template: str) -> Iterator[str]:
    """A database with the fills of three symbols, created once and copied for each test."""
    server, name = postgres_server.settings(), "history_filled"

    async def make() -> None:
        await run(server, f"CREATE DATABASE {name} TEMPLATE {history_template} {COPY}")
        connection = await connect(of(server, name), "tests")
        account = await new_account(connection)
        for number, symbol in enumerate(SYMBOLS):
            await insert_fills(connection, some_fills(number, 3_000, account, symbol))
        await connection.close()

    asyncio.run(make())
    yield name
    asyncio.run(run(server, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def history_source(history_filled: str) -> str:
    return history_filled


DAMAGE = {
    "a trip is gone": "DELETE FROM trading.round_trips WHERE symbol = 'ETHUSDT' AND closed_at = (SELECT max(closed_at) FROM "
    "trading.round_trips WHERE symbol = 'ETHUSDT')",
    "a trip is invented": "INSERT INTO trading.round_trips SELECT account_id, category, symbol, bot_id, opened_at, opened_seq, "
    "opened_id, closed_at, closed_seq, 'invented', is_long, from_opening, reversed, fills, exit_reason, qty, max_qty, entry_value, "
    "exit_value, gross, fees, funding, maker_value, leg, settle_coin, ends_flat FROM trading.round_trips ORDER BY closed_at LIMIT 1",
    "the last digit of a trip": "UPDATE trading.round_trips SET gross = gross + 0.000000000001 WHERE closed_at = "
    "(SELECT min(closed_at) FROM trading.round_trips)",
    "the last digit of a day": "UPDATE trading.daily_totals SET fees = fees + 0.00001 WHERE day = (SELECT min(day) FROM trading.daily_totals)",
    "a day is gone": "DELETE FROM trading.daily_totals WHERE symbol = 'SOLUSDT' AND day = (SELECT min(day) FROM trading.daily_totals "
    "WHERE symbol = 'SOLUSDT')",
    "an exit too many": "UPDATE trading.daily_exits SET trips = trips + 1 WHERE day = (SELECT min(day) FROM trading.daily_exits)",
    "the best of a day": "UPDATE trading.daily_exits SET best = best + 1 WHERE day = (SELECT max(day) FROM trading.daily_exits)",
    "an open position": "UPDATE trading.position_states SET held = held + 1 WHERE symbol = 'BTCUSDT'",
    "a state is gone": "DELETE FROM trading.position_states WHERE symbol = 'BTCUSDT'",
    "a fill that no book knows": "ALTER TABLE trading.fills DISABLE TRIGGER update_rollups; INSERT INTO trading.fills SELECT exec_time + "
    "interval '1 h', received_at, seq, account_id, is_maker, bot_id, category, symbol, 'unknown', order_id, order_link_id, side, "
    "exec_type, reason, price, qty, value, fee FROM trading.fills WHERE symbol = 'BTCUSDT' AND exec_type = 'Trade' ORDER BY "
    "exec_time DESC LIMIT 1; ALTER TABLE trading.fills ENABLE TRIGGER update_rollups",
}


@pytest.mark.parametrize("what", DAMAGE)
async def test_damage_is_found_and_mended(owner: Connection, history_settings: DatabaseSettings, what: str) -> None:
    clean = await verify(history_settings, lambda fills: None)
    assert (clean.fills, clean.differences) == (9_000, [])
    await owner.execute(DAMAGE[what])
    assert (await verify(history_settings, lambda fills: None)).differences
    walked: list[int] = []
    assert await rebuild(history_settings, walked.append) == len(SYMBOLS)
    assert sum(walked) == await owner.fetchval("SELECT count(*) FROM trading.fills")
    assert (await verify(history_settings, lambda fills: None)).differences == []


def alpha(settings: DatabaseSettings, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command `alpha` as the owner of this database."""
    environment = {
        **os.environ,
        "POSTGRES_HOST": settings.postgres_host,
        "POSTGRES_PORT": str(settings.postgres_port),
        "POSTGRES_DB": settings.postgres_db,
        "POSTGRES_USER": settings.postgres_user,
        "POSTGRES_PASSWORD": settings.postgres_password.get_secret_value(),
    }
    return forkserver.run(["-m", "alpha", *words], environment=environment)


async def test_the_exit_code_tells_the_truth(owner: Connection, history_settings: DatabaseSettings) -> None:
    await owner.execute(DAMAGE["the last digit of a day"])
    result = alpha(history_settings, "db", "verify")
    assert result.returncode == 1
    assert "alpha db rebuild" in result.stdout
    assert alpha(history_settings, "db", "rebuild").returncode == 0
    assert alpha(history_settings, "db", "verify").returncode == 0


async def test_bybits_own_pnl_is_compared_on_request(owner: Connection, history_settings: DatabaseSettings) -> None:
    account = await new_account(owner)
    pair = [
        fill(0, "Buy", "1", "100", account_id=account, symbol="XRPUSDT"),
        fill(1, "Sell", "1", "110", exec_pnl="10.005", account_id=account, symbol="XRPUSDT"),
    ]
    await insert_fills(owner, pair)
    fine = alpha(history_settings, "db", "verify", "--exec-pnl")
    assert (fine.returncode, "1 round trips carry Bybit's own P&L: 0 differ" in fine.stdout) == (0, True)
    more = [
        fill(2, "Buy", "1", "100", account_id=account, symbol="XRPUSDT"),
        fill(3, "Sell", "1", "110", exec_pnl="11", account_id=account, symbol="XRPUSDT"),
    ]
    await insert_fills(owner, more)
    wrong = alpha(history_settings, "db", "verify", "--exec-pnl")
    assert (wrong.returncode, "1 differ by more than 0.01 USDT; the largest difference is 1." in wrong.stdout) == (
        1,
        True,
    )


async def test_a_service_role_is_told_that_this_is_the_owners(history_settings: DatabaseSettings) -> None:
    from pydantic import SecretStr

    from tests.history.roles import PASSWORDS

    update = {"postgres_user": "alpha_c2", "postgres_password": SecretStr(PASSWORDS["alpha_c2"])}
    for words in (("verify",), ("prune", "--before", "2025-01-02", "--yes")):
        result = alpha(history_settings.model_copy(update=update), "db", *words)
        assert result.returncode == 2
        assert "Check POSTGRES_USER; the owner may do everything." in result.stderr
        assert "Traceback" not in result.stderr


async def test_measured_slippage_takes_any_name_of_the_bot_and_counts_back_from_the_newest_order(
    owner: Connection, history_settings: DatabaseSettings, tmp_path: Path
) -> None:
    await owner.execute("""
        INSERT INTO trading.order_intents (account_id, order_link_id, bot_id, symbol, bar_start, intent, order_kind, side, qty,
            reason, decision_price, decided_at)
        SELECT account_id, 'ss-' || symbol, bot_id, symbol, at, 'enter', 'market', 'Buy', 2, 'entry', 100, at
        FROM trading.accounts, (VALUES ('BTCUSDT', timestamptz '2025-01-10'), ('ETHUSDT', '2024-01-10')) AS made (symbol, at)
        WHERE bot_id = 'shortseller_001';
        INSERT INTO trading.orders (account_id, order_id, order_link_id, bot_id, category, symbol, side, order_type, status, qty,
            cum_exec_qty, avg_price, reason, reduce_only, close_on_trigger, created_at, updated_at, received_at)
        SELECT account_id, order_link_id, order_link_id, bot_id, 'linear', symbol, side, 'Market', 'Filled', qty, qty, 100.1,
            'entry', false, false, decided_at, decided_at, decided_at
        FROM trading.order_intents""")
    out = tmp_path / "slippage.csv"
    done = alpha(history_settings, "data", "slippage", "shortseller", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert out.read_text().splitlines() == ["symbol,bps,orders", "BTCUSDT,10.00,1"]
    for name, said in (
        ("nope", "There is no bot called 'nope'. The bots are: "),
        ("momentum", "no executed market order"),
    ):
        refused = alpha(history_settings, "data", "slippage", name, "--out", str(out))
        assert refused.returncode == 2
        assert said in refused.stderr


async def test_prune_takes_what_is_old_and_never_a_fill(owner: Connection, history_settings: DatabaseSettings) -> None:
    await owner.execute(
        "INSERT INTO trading.equity_snapshots SELECT account_id, t, 100, 100, 100, 0 FROM trading.accounts, "
        "generate_series(timestamptz '2025-01-01', '2025-01-03', '12 h') AS t"
    )
    assert alpha(history_settings, "db", "prune", "--before", "2025-01-02", "--yes").returncode == 0
    assert await owner.fetchval("SELECT count(*) FROM trading.equity_snapshots") == 3
    assert await owner.fetchval("SELECT count(*) FROM trading.daily_equity") == 3
    assert await owner.fetchval("SELECT count(*) FROM trading.fills") == 9_000
    assert alpha(history_settings, "db", "prune", "--before", "2999-01-01", "--yes").returncode == 2


async def test_since_a_day_it_begins_at_a_checkpoint_and_finds_what_is_wrong_from_there_on(
    history_settings: DatabaseSettings, owner: Connection, listener: Connection
) -> None:
    account = await new_account(owner)
    rows = some_fills(9, 4_000, account, "LINKUSDT")
    await insert_fills(listener, rows)
    every = await owner.fetchval("SELECT count(*) FROM trading.fills")
    late = rows[3_000].exec_time
    steps: list[int] = []
    found = await verify(history_settings, steps.append, since=late)
    assert found.differences == []
    assert 900 < sum(steps) < every / 2, "from the last checkpoint before the day"
    await owner.execute(
        "UPDATE trading.daily_totals SET fees = fees + 1 WHERE symbol = 'LINKUSDT' AND day = $1", late.date()
    )
    assert len((await verify(history_settings, steps.append, since=late)).differences) == 1
    steps.clear()
    await rebuild(history_settings, steps.append, since=late)
    assert 900 < sum(steps) < every / 2
    assert (await verify(history_settings, steps.append)).differences == []


async def test_pending_work_is_done_in_parts_of_less_than_half_a_second(
    history_settings: DatabaseSettings, owner: Connection, listener: Connection
) -> None:
    account = await new_account(owner)
    await insert_fills(listener, some_fills(9, 1_000, account))
    for symbol in ("BTCUSDT",):
        await owner.execute("SELECT trading.mark_for_recompute($1, 'linear', $2, 'both')", account, symbol)
    assert await listener.fetchval("SELECT trading.settle()") == 1
    assert await listener.fetchval("SELECT trading.settle()") == 0
    assert (await verify(history_settings, lambda fills: None)).differences == []
