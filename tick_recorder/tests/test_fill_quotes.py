"""The recorder stores the quotes around each fill: late, once, over restarts, with its own role, equal to a recomputation."""

import random
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from alpha.config.loader import load
from alpha.model.account import Environment
from alpha.model.timestamp import at
from alpha.postgres.database import Connection, connect
from alpha.postgres.migrate import MigrateSettings, run
from demo.postgres import EmbeddedPostgres
from tests.support.world import ROOT, until
from tick_recorder.fill_quotes import markets_of
from tick_recorder.tests.conftest import RecorderMaker
from tick_recorder.tests.exchange import TickExchange

ROLE_PASSWORD = "password-of-the-recorder"
BPS = 10_000
#: Time, best bid and best offer.
Quotes = list[tuple[int, Decimal, Decimal]]


@pytest.fixture
async def owner(tmp_path: Path) -> AsyncIterator[tuple[EmbeddedPostgres, Connection, int]]:
    """A migrated server, its owner's connection, and an account."""
    server = EmbeddedPostgres(tmp_path / "postgres", "password-of-the-owner", durable=False)
    try:
        server.start()
        arguments = {name.lower(): value for name, value in server.environment().items()}
        await run(
            load(
                MigrateSettings,
                env_file=None,
                bots_file=ROOT / "bots.toml",
                alpha_ticks_db_password=ROLE_PASSWORD,
                **arguments,
            )
        )
        connection = await connect(server.settings(), "tests")
        account = await connection.fetchval("SELECT trading.register_account('simulated', '1', 'shortseller_001')")
        yield server, connection, account
        await connection.close()
    finally:
        server.stop("immediate")


def database(server: EmbeddedPostgres) -> dict[str, str]:
    """How the recorder reaches it, with its own role."""
    return {"postgres_port": str(server.port), "postgres_user": "alpha_ticks", "postgres_password": ROLE_PASSWORD}


async def fill(
    connection: Connection, account: int, exec_id: str, ts: int, side: str, price: Decimal, symbol: str = "BTCUSDT"
) -> None:
    """A trade of the record, and why its order was sent."""
    await connection.execute(
        "INSERT INTO trading.fills (account_id, bot_id, category, symbol, exec_id, order_id, order_link_id, side, exec_type, "
        "reason, price, qty, value, fee, is_maker, seq, exec_time, received_at) VALUES ($1, 'shortseller_001', 'linear', $2, $3, "
        "$3, $3, $4, 'Trade', 'entry', $5::numeric, 2, $5::numeric * 2, 0.1, false, 1, $6, $6)",
        account, symbol, exec_id, side, price, at(ts),
    )  # fmt: skip
    await connection.execute(
        "INSERT INTO trading.order_intents (account_id, order_link_id, bot_id, symbol, bar_start, intent, order_kind, side, qty, "
        "reason, decision_price, decided_at) VALUES ($1, $2, 'shortseller_001', $3, $4, 'enter', 'market', $5, 2, 'entry', "
        "$6::numeric - 0.25, $4)",
        account, exec_id, symbol, at(ts), side, price,
    )  # fmt: skip


def quoted(quotes: Quotes, ts: int, *, before: bool) -> tuple[int, Decimal, Decimal] | None:
    """The quote that held at a time, found by looking at every one."""
    found = [quote for quote in quotes if quote[0] < ts or (quote[0] == ts and not before)]
    return found[-1] if found else None


def expected(quotes: Quotes, ts: int, side: str, price: Decimal) -> dict[str, Decimal | None]:
    """The figures of one fill, from what was sent."""
    sign = 1 if side == "Buy" else -1
    last = quoted(quotes, ts, before=True)
    names = ("spread_bps", "slippage_bps", "delay_bps", "after_1s_bps", "after_5s_bps", "after_30s_bps")
    if last is None:
        return dict.fromkeys(names)
    mid, decided = (last[1] + last[2]) / 2, price - Decimal("0.25")
    figures: list[Decimal | None] = [
        (last[2] - last[1]) / mid, sign * (price - mid) / mid, sign * (mid - decided) / decided,
    ]  # fmt: skip
    for seconds in (1, 5, 30):
        later = quoted(quotes, ts + seconds * 1_000, before=False)
        assert later is not None
        figures.append(sign * ((later[1] + later[2]) / 2 - mid) / mid)
    return {name: None if one is None else one * BPS for name, one in zip(names, figures, strict=True)}


def send_quotes(exchange: TickExchange, draw: random.Random, begin: int, seconds: int, symbol: str) -> Quotes:
    """Quotes of a random walk, each sent."""
    sent: Quotes = []
    ts, bid = begin, Decimal("37000.0")
    while ts < begin + seconds * 1_000:
        ts += draw.randrange(1, 2_000)
        bid += Decimal(draw.randrange(-30, 31)) / 10
        ask = bid + Decimal(draw.randrange(1, 9)) / 10
        exchange.quote(symbol, ts=ts, bid=str(bid), ask=str(ask))
        sent.append((ts, bid, ask))
    return sent


async def measured(connection: Connection) -> int:
    """How many fills have their row."""
    return int(await connection.fetchval("SELECT count(*) FROM trading.fill_quotes"))


async def test_every_fill_is_measured_once_over_restarts_and_equals_a_recomputation(
    recorder: RecorderMaker, exchange: TickExchange, owner: tuple[EmbeddedPostgres, Connection, int]
) -> None:
    server, connection, account = owner
    draw = random.Random(5)
    process = recorder(exchange, **database(server))
    await recorder.listening(exchange, 4)
    begin = (exchange_now() // 3_600_000 - 2) * 3_600_000 + 3_590_000
    quotes = send_quotes(exchange, draw, begin, 120, "BTCUSDT")
    fills: dict[str, tuple[int, str, Decimal]] = {}
    for number in range(40):
        # some in the millisecond of a quote, which may already show the fill, and one before all
        ts = draw.choice(quotes)[0] if number % 4 == 0 else begin + draw.randrange(2_000, 80_000)
        ts = min(ts, begin + 80_000) if number else begin - 1
        fills[f"exec-{number}"] = (ts, draw.choice(("Buy", "Sell")), Decimal(draw.randrange(369_000, 371_000)) / 10)
    # a third while it runs, a third while it does not, the last after its restart
    names = list(fills)
    for name in names[:14]:
        await fill(connection, account, name, *fills[name])
    await until(lambda: all_of(connection, 14), 60, "the first fills to be measured")
    process.kill()
    for name in names[14:28]:
        await fill(connection, account, name, *fills[name])
    recorder(exchange, **database(server))
    await recorder.listening(exchange, 4)
    # the gap of the restart must end, and newer quotes prove that the recording goes on
    quotes += send_quotes(exchange, draw, begin + 130_000, 60, "BTCUSDT")
    await until(lambda: all_of(connection, 28), 60, "the fills of the restart")
    for name in names[28:]:
        await fill(connection, account, name, *fills[name])
    await until(lambda: all_of(connection, 40), 60, "the last fills")
    rows = await connection.fetch("SELECT * FROM trading.fill_costs")
    assert len(rows) == 40
    for row in rows:
        ts, side, price = fills[row["exec_id"]]
        assert (row["order_kind"], row["decision_price"]) == ("market", price - Decimal("0.25"))
        for figure, value in expected(quotes, ts, side, price).items():
            if value is None:
                assert row[figure] is None, (figure, dict(row))
            else:
                assert row[figure] == pytest.approx(value, abs=Decimal("1e-9")), (figure, dict(row))
    assert await measured(connection) == 40


async def test_a_fill_waits_until_the_quotes_after_it_are_stored_and_other_exchanges_are_left_alone(
    recorder: RecorderMaker, exchange: TickExchange, owner: tuple[EmbeddedPostgres, Connection, int]
) -> None:
    server, connection, account = owner
    testnet = await connection.fetchval("SELECT trading.register_account('testnet', '2', 'shortseller_001')")
    recorder(exchange, **database(server))
    await recorder.listening(exchange, 4)
    begin = exchange_now() - 3_600_000
    send_quotes(exchange, random.Random(1), begin, 60, "BTCUSDT")
    await fill(connection, account, "early", begin + 10_000, "Buy", Decimal(37_000))
    await fill(connection, account, "late", begin + 45_000, "Buy", Decimal(37_000))
    await fill(connection, account, "unrecorded", begin + 10_000, "Buy", Decimal(1), "XRPUSDT")
    await fill(connection, testnet, "testnet", begin + 10_000, "Buy", Decimal(37_000))
    await until(lambda: all_of(connection, 1), 60, "the early fill")
    assert await connection.fetchval("SELECT exec_id FROM trading.fill_quotes") == "early"
    send_quotes(exchange, random.Random(2), begin + 60_000, 30, "BTCUSDT")
    await until(lambda: all_of(connection, 2), 60, "the late fill")
    found = await connection.fetch("SELECT exec_id FROM trading.fill_quotes ORDER BY 1")
    assert [row["exec_id"] for row in found] == ["early", "late"]


async def all_of(connection: Connection, count: int) -> bool:
    """Whether so many fills are measured."""
    return await measured(connection) >= count


def exchange_now() -> int:
    """The sender's time."""
    return time.time_ns() // 1_000_000


def test_live_and_demo_accounts_trade_at_the_same_prices() -> None:
    assert markets_of(Environment.LIVE) == markets_of(Environment.DEMO) == ["demo", "live"]
    assert markets_of(Environment.TESTNET) == ["testnet"]
