"""Observe mode on a hedge account, a USDC account and one that pays its fees in MNT: every number that is shown equals an
independent recomputation from the simulated exchange's own ledger."""

import asyncio
import random
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from alpha.clock import wall_ms
from alpha.live_state.connect import RedisClients
from alpha.live_state.read import read_positions, read_status
from alpha.model.timestamp import ms_of
from alpha.postgres.database import Connection, connect
from alpha.registry import Registry
from bot_control.no_control import NoControl
from dashboard import chart_data, front
from dashboard.asked import Asked
from dashboard.figures import figures
from operations import analytics, history_pages, pages, positions
from operations.business_time import business_now
from operations.context import History, Operations
from operations.formatting import number, usdt
from operations.page import Facts, Page, Table, Words
from operations.periods import parse_period
from tests.accounts.recompute import Ledger, Row, coin_of, ledgers_of
from tests.support.bot_harness import BotHarness
from tests.support.world import BOTS, BotKey, Trader, until

HEDGE, USDC, MNT = BOTS
KINDS = {HEDGE.bot: "hedge", USDC.bot: "usdc=50000", MNT.bot: "mnt=200,isolated"}
SYMBOLS = {HEDGE: ("BTCUSDT", "ETHUSDT", "SOLUSDT"), USDC: ("BTCPERP", "SOLUSDT"), MNT: ("ETHUSDT", "SOLUSDT")}
QTY = {"BTCUSDT": "0.05", "ETHUSDT": "1.5", "SOLUSDT": "20", "BTCPERP": "0.04"}
D = Decimal
#: Averages are kept to twelve decimals.
CLOSE = D("0.00000001")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[BotHarness]:
    """An exchange at an hour a second, whose sessions and funding come every eight seconds, and a listener."""
    harness = BotHarness(
        tmp_path,
        speed="3600",
        options=("--symbols", "BTCUSDT,ETHUSDT,SOLUSDT,BTCPERP,MNTUSDT"),
        accounts_are=KINDS,
    )
    await harness.open()
    yield harness
    harness.close()


@pytest.fixture
async def platform(stage: BotHarness, registry: Registry) -> AsyncIterator[Operations]:
    """What the pages ask."""
    links, history = RedisClients(stage.servers.redis.settings()), History(stage.database(), "tests")
    yield Operations(registry, links, history, NoControl())
    await history.close()
    await links.close()


async def trade(stage: BotHarness, draw: random.Random, bot: BotKey, count: int) -> None:
    """Market orders that open, add to, reduce and close the legs (or positions) of this account."""
    client = Trader(stage.simulator.url, bot)
    for _ in range(count):
        symbol = draw.choice(SYMBOLS[bot])
        idx = draw.choice((1, 2)) if bot is HEDGE else 0
        account = await stage.simulator.account(bot.key)
        held = next(
            (D(row["size"]) for row in account["positions"] if (row["symbol"], row["positionIdx"]) == (symbol, idx)),
            D(0),
        )
        opens = ("Buy", "Sell")[idx - 1] if idx else draw.choice(("Buy", "Sell"))
        closes = "Sell" if opens == "Buy" else "Buy"
        if idx and held and draw.random() < 0.6:
            qty = held if draw.random() < 0.5 else D(QTY[symbol]) / 2
            side, amount = closes, f"{min(held, qty):f}"
        else:
            side, amount = opens, QTY[symbol]
        answer = await client.order(symbol, side, amount, positionIdx=idx)
        assert answer["retCode"] in (0, 110007), answer
        await asyncio.sleep(0.1)
    await client.close()


async def rest(stage: BotHarness, links: RedisClients) -> None:
    """Let the exchange's time nearly stand, so that prices do not move but are still pushed; wait until all is shown."""
    async with httpx.AsyncClient(base_url=stage.simulator.url) as client:
        assert (await client.post("/_sim/speed", json={"speed": 0.0001})).status_code == 200
    since_ms = wall_ms()

    async def settled() -> bool:
        for bot, number_ in ((HEDGE, 0), (USDC, 1), (MNT, 2)):
            status = await read_status(links.database(number_), bot.bot)
            if status is None or str(status.state) != "synced":
                return False
            if status.synced_at is None or ms_of(status.synced_at) < since_ms:
                return False
        owner = await connect(stage.database(), "tests")
        try:
            for bot in BOTS:
                known = await owner.fetchval("SELECT count(*) FROM trading.fills WHERE bot_id = $1", bot.bot)
                if known != len(await stage.simulator.ledger(bot.key)):
                    return False
            for bot, number_ in ((HEDGE, 0), (USDC, 1), (MNT, 2)):
                marks = {row.symbol: row.mark_price for row in await read_positions(links.database(number_), bot.bot)}
                rows = (await stage.simulator.account(bot.key))["positions"]
                if marks != {row["symbol"]: D(row["markPrice"]) for row in rows}:
                    return False
            waiting = await owner.fetchval(
                "SELECT count(*) FROM trading.fills WHERE fee_currency = 'MNT' AND fee_price IS NULL"
            )
        finally:
            await owner.close()
        return not waiting

    await until(settled, 90, "the listener to know what the exchange knows", step_s=0.3)


async def orders_of(stage: BotHarness, bot: BotKey) -> list[Row]:
    async with httpx.AsyncClient(base_url=stage.simulator.url, timeout=30) as client:
        answer = (await client.get("/_sim/orders", params={"key": bot.key, "limit": "10000"})).json()
        found: list[Row] = answer["orders"]
        return found


def words_of(page: Page) -> str:
    """Everything that a page says."""
    said = []
    for block in page.blocks:
        if isinstance(block, Words):
            said.append(block.text)
        elif isinstance(block, Facts):
            said += [cell.text for _, cell in block.rows]
        elif isinstance(block, Table):
            said += [cell.text for row in block.rows for cell in row]
    return "\n".join(said)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_every_number_shown_is_the_exchanges(stage: BotHarness, platform: Operations, registry: Registry) -> None:
    stage.listener().start()
    draw = random.Random(20)
    await asyncio.gather(*(trade(stage, draw, bot, 60) for bot in BOTS))
    links = platform.live
    await rest(stage, links)
    owner = await connect(stage.database(), "tests")
    try:
        for bot in BOTS:
            await compare(stage, platform, owner, bot)
        await compare_dashboard(stage, platform)
    finally:
        await owner.close()


async def compare(stage: BotHarness, platform: Operations, owner: Connection, key: BotKey) -> None:
    bot = platform.registry.find(key.bot)
    account = await stage.simulator.account(key.key)
    executions = await stage.simulator.ledger(key.key)
    ledgers = ledgers_of(executions, await orders_of(stage, key), hedged=key is HEDGE)
    assert any(row["execType"] == "Funding" for row in executions), "long enough for funding"

    # /positions
    shown = await positions.positions(platform, bot)
    theirs = {
        (row["symbol"], {0: "both", 1: "long", 2: "short"}[row["positionIdx"]]): row for row in account["positions"]
    }
    assert {(row.symbol, row.leg) for row in shown} == set(theirs) == {k for k, one in ledgers.items() if one.held}
    page = words_of(pages.positions_page(shown, platform.zone, await business_now(platform)))
    for row in shown:
        ledger, exchange = ledgers[row.symbol, row.leg], theirs[row.symbol, row.leg]
        assert row.size == abs(ledger.held) == D(exchange["size"])
        assert row.entry_price is not None
        assert row.mark_price is not None
        assert abs(row.entry_price - ledger.average) < CLOSE
        assert row.mark_price == D(exchange["markPrice"])
        # in USDC a session's profit is in the wallet already
        since = D(exchange["sessionAvgPrice"] or 0) or row.entry_price
        profit = (row.mark_price - since) * ledger.held
        assert abs(profit - D(exchange["unrealisedPnl"])) < CLOSE
        assert row.unrealised_pnl is not None
        assert abs(row.unrealised_pnl - profit) < CLOSE
        assert row.leverage == D(exchange["leverage"])
        assert row.liq_price == (D(exchange["liqPrice"]) if exchange["liqPrice"] else None)
        assert row.margin == D(exchange["positionIM"])
        for cell in (number(row.size), number(row.entry_price), number(row.mark_price), usdt(row.unrealised_pnl)):
            assert cell.text in page
    if key is MNT:
        assert all(row.liq_price for row in shown), "each isolated position has its own"
    for coin in {coin_of(row.symbol) for row in shown}:
        total = sum(((row.unrealised_pnl or D(0)) for row in shown if coin_of(row.symbol) == coin), D(0))
        assert f"{usdt(total).text} {coin}" in page

    # /balance
    balances = {row.coin: row for row in await positions.balance(platform, bot)}
    lines = {row["coin"]: row for row in account["wallet"]["coin"]}
    for coin, row_ in balances.items():
        assert row_.wallet_balance == D(lines[coin]["walletBalance"])
        assert abs(row_.equity - D(lines[coin]["equity"])) < CLOSE

    # /analytics
    period = parse_period("30d", await business_now(platform))
    seen = await analytics.analytics(platform, bot, period)
    text = words_of(history_pages.analytics_page(seen, platform.zone))
    coins = {coin_of(symbol) for symbol, _ in ledgers}
    figures = {row.coin: row for row in seen.performance}
    assert coins <= set(figures)
    for coin in coins:
        of_coin: list[Ledger] = [one for (symbol, _), one in ledgers.items() if coin_of(symbol) == coin]
        row__ = figures[coin]
        assert abs(row__.gross - sum((one.gross for one in of_coin), D(0))) < CLOSE
        assert row__.fees == sum((one.fees for one in of_coin), D(0))
        assert row__.funding == sum((one.funding for one in of_coin), D(0))
        assert abs(row__.net - (row__.gross - row__.fees + row__.funding)) == 0
        assert row__.volume == sum((one.volume for one in of_coin), D(0))
        trips = [net for one in of_coin for net in one.trips]
        assert (row__.trips, row__.wins) == (len(trips), sum(net > 0 for net in trips))
        reasons = sum((each.net for each in seen.reasons if each.coin == coin), D(0))
        assert abs(reasons - sum(trips, D(0))) < CLOSE
        assert usdt(row__.net).text in text
    for each in seen.symbols:
        mine = [one for (symbol, _), one in ledgers.items() if symbol == each.symbol]
        assert abs(each.net - sum((one.gross - one.fees + one.funding for one in mine), D(0))) < CLOSE
        assert usdt(each.net).text in text
    # what the wallet of each coin has moved is what these figures say, less what sessions have realised of open positions
    in_mnt = [row for row in executions if row["feeCurrency"] == "MNT"]
    paid = sum((D(row["execFee"]) for row in in_mnt), D(0))
    assert (sum((fee.amount for fee in seen.other_fees), D(0)), bool(in_mnt)) == (paid, key is MNT)
    if key is MNT:
        assert "They are not in fees and net." in text
        assert all(not fee.unvalued and fee.value > 0 for fee in seen.other_fees)
    legs = await owner.fetch(
        "SELECT f.leg, f.order_id, o.leg AS of_order FROM trading.fills f JOIN trading.orders o USING (account_id, order_id) "
        "WHERE f.bot_id = $1",
        key.bot,
    )
    assert legs
    assert all(row["leg"] == row["of_order"] for row in legs)


async def compare_dashboard(stage: BotHarness, platform: Operations) -> None:
    places = await front.live_places(platform)
    past = await front.past_place(platform, Asked("/"))
    html = "".join(places.values())
    equity: dict[str, Decimal] = {}
    pnl: dict[str, Decimal] = {}
    for bot in BOTS:
        account = await stage.simulator.account(bot.key)
        for row in account["wallet"]["coin"]:
            if row["coin"] in ("USDT", "USDC") and D(row["equity"]):
                equity[row["coin"]] = equity.get(row["coin"], D(0)) + D(row["equity"])
        for row in account["positions"]:
            coin = coin_of(row["symbol"])
            pnl[coin] = pnl.get(coin, D(0)) + D(row["unrealisedPnl"])
    assert usdt(equity["USDT"], signed=False).text in html
    assert f"{usdt(equity['USDC'], signed=False).text} USDC" in html
    period = parse_period("30d", await business_now(platform))
    for row_ in await analytics.reasons(platform, None, period):
        assert usdt(row_.net).text in past
    # a chart per coin, whose last point is the exchange's equity in that coin, and bars of what each coin earned
    for coin, total in equity.items():
        assert f"Equity and drawdown, {coin}, " in past
        drawn: Any = await chart_data.equity(platform, Asked("/", coin=coin))
        assert drawn["curves"]["all"][-1][1] == pytest.approx(float(total), rel=1e-12)
        for day in {
            row.start for row in await analytics.spans(platform, "daily", None, 30, period.end) if row.coin == coin
        }:
            own = [row.net for row in await analytics.spans(platform, "daily", None, 30, period.end)
                   if row.coin == coin and row.start == day]  # fmt: skip
            assert f"{float(sum(own, D(0))):,.2f}" in past
    shown = await figures(platform, Asked("/figures"))
    assert all(f"Results of trades, {coin}" in shown for coin in ("USDT", "USDC"))
