"""Contracts in USDC, fees in MNT, a split in mid-position, auto-deleveraging: on the simulated exchange."""

import json
from decimal import Decimal
from typing import Any

import httpx

from alpha.alert_batcher import AlertBatcher
from alpha.alerts import Alerts
from alpha.bybit.client import Gateway
from alpha.bybit.decode import parse_closed_pnl
from alpha.bybit.hosts import simulated_hosts
from alpha.bybit.rate_limiter import RateLimiter
from alpha.bybit.session import Credentials
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.live_state.read import read_positions, read_wallets
from alpha.model.account import Account, Environment
from tests.support.alerts import raised_alerts
from tests.support.world import BotKey, Simulator, Trader, until
from trade_sync_service.domain.trade_rows import trades_of
from websocket_listener.account_settings import AccountSettingsWatch
from websocket_listener.adl import AdlWatch, Drawdown
from websocket_listener.rows import check_execution, fill_of, reason_of_execution
from websocket_listener.tests.conftest import ListenerMaker
from websocket_listener.tests.rows import execution, position
from websocket_listener.tests.test_process import BOT, DATABASE, synced

D = Decimal


def gateway_of(exchange: Simulator, name: str, links: RedisClients) -> Gateway:
    return Gateway(
        simulated_hosts(exchange.url, exchange.url.replace("http", "ws")),
        Credentials(f"key-{name}", f"secret-{name}"),
        RateLimiter(links.shared),
        account=name,
    )


async def trade(exchange: Simulator, name: str, *orders: tuple[str, str, str]) -> None:
    client = Trader(exchange.url, BotKey("", "", f"key-{name}", f"secret-{name}"))
    for symbol, side, qty in orders:
        answer = await client.order(symbol, side, qty)
        assert answer["retCode"] == 0, answer
    await client.close()


async def ask(exchange: Simulator, path: str, **body: object) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=exchange.url) as client:
        answer = await client.post(f"/_sim/{path}", json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


async def alerts_of(links: RedisClients) -> str:
    return json.dumps(await raised_alerts(links.shared))


async def trades_stored(exchange: Simulator, database: Any, name: str) -> bool:
    uid = (await exchange.account(f"key-{name}"))["uid"]
    known = await database.fetchval(
        "SELECT count(*) FROM trading.fills f JOIN trading.accounts a USING (account_id) "
        "WHERE a.user_id = $1 AND f.exec_type = 'Trade'",
        str(uid),
    )
    return bool(known == len([row for row in await exchange.ledger(f"key-{name}") if row["execType"] == "Trade"]))


async def test_usdc_has_its_own_wallet_figures_and_equity(
    exchange: Simulator, listener: ListenerMaker, links: RedisClients, database: Any
) -> None:
    listener({"SHORTSELLER": "key-usdc"}, listener_snapshot_s="1")
    await synced(links)
    await trade(exchange, "usdc", ("BTCPERP", "Buy", "0.5"), ("BTCPERP", "Sell", "0.2"), ("SOLUSDT", "Sell", "10"))
    await until(lambda: trades_stored(exchange, database, "usdc"), 30, "the fills")
    redis = links.database(DATABASE[BOT])

    async def shown() -> bool:
        account = await exchange.account("key-usdc")
        coins = {row["coin"]: D(row["walletBalance"]) for row in account["wallet"]["coin"]}
        return {row.coin: row.wallet_balance for row in await read_wallets(redis, BOT)} == coins

    await until(shown, 30, "both lines of the wallet")
    assert [row.symbol for row in await read_positions(redis, BOT)] == ["BTCPERP", "SOLUSDT"]
    account = await exchange.account("key-usdc")

    async def figures() -> bool:
        rows = await database.fetch("SELECT * FROM trading.bot_performance($1, '2000-01-01', '2100-01-01')", BOT)
        number = await database.fetchval(
            "SELECT account_id FROM trading.accounts WHERE user_id = $1", str(account["uid"])
        )
        found = {row["settle_coin"]: row for row in rows if row["account_id"] == number}
        return set(found) == {"USDT", "USDC"} and all(row["end_equity"] for row in found.values())

    await until(figures, 30, "a row per coin with its equity")
    states = await database.fetch(
        "SELECT settle_coin, sum(fees) AS fees FROM trading.position_states s JOIN trading.accounts a USING (account_id) "
        "WHERE a.user_id = $1 GROUP BY 1",
        str(account["uid"]),
    )
    fees = {row["settle_coin"]: row["fees"] for row in states}
    assert fees == {coin: D(account["coins"][coin]["fees"]) for coin in ("USDT", "USDC")}


async def test_a_fee_in_mnt_is_booked_in_mnt_and_valued_at_its_time(
    exchange: Simulator, listener: ListenerMaker, links: RedisClients, database: Any
) -> None:
    await trade(exchange, "mnt", ("SOLUSDT", "Buy", "10"))
    listener({"SHORTSELLER": "key-mnt"})
    await synced(links)
    await trade(exchange, "mnt", ("SOLUSDT", "Sell", "10"))
    uid = str((await exchange.account("key-mnt"))["uid"])

    async def valued() -> bool:
        rows = await database.fetch(
            "SELECT fee_price FROM trading.fills f JOIN trading.accounts a USING (account_id) "
            "WHERE a.user_id = $1 AND f.fee_currency = 'MNT'",
            uid,
        )
        return len(rows) >= 2 and all(row["fee_price"] for row in rows)

    await until(valued, 30, "the price of the fees")
    paid = sum((D(row["execFee"]) for row in await exchange.ledger("key-mnt") if row["feeCurrency"] == "MNT"), D(0))
    total = await database.fetchrow(
        "SELECT sum(amount) AS amount, sum(value) AS value, sum(unvalued) AS unvalued FROM trading.daily_other_fees d "
        "JOIN trading.accounts a USING (account_id) WHERE a.user_id = $1",
        uid,
    )
    assert (total["amount"], total["unvalued"]) == (paid, 0)
    worth = await database.fetchval(
        "SELECT sum(fee * fee_price) FROM trading.fills f JOIN trading.accounts a USING (account_id) "
        "WHERE a.user_id = $1 AND fee_currency = 'MNT'",
        uid,
    )
    assert total["value"] == worth
    trip = await database.fetchrow(
        "SELECT fees FROM trading.position_summaries s JOIN trading.accounts a USING (account_id) WHERE a.user_id = $1",
        uid,
    )
    assert trip["fees"] == 0, "no USDT was paid"


async def test_the_switch_of_fees_is_read_and_a_change_is_told(
    exchange: Simulator, links: RedisClients, pool: Any, database: Any
) -> None:
    await database.execute("SELECT trading.register_account('simulated', 'switch', 'momentum_001')")
    number = await database.fetchval("SELECT account_id FROM trading.accounts WHERE user_id = 'switch'")
    account = Account(number, "momentum_001", Environment.SIMULATED, "switch")
    grouped = AlertBatcher(Alerts(links.shared, "test"))
    async with gateway_of(exchange, "mnt", links) as gateway:
        watch = AccountSettingsWatch(account, gateway, pool, grouped)
        await watch.read()
        await grouped.tell(all_of_it=True)
        assert "MNT" not in await alerts_of(links)
        await ask(exchange, "fees", key="key-mnt", mnt=False)
        await watch.read()
        await grouped.tell(all_of_it=True)
        await ask(exchange, "fees", key="key-mnt", mnt=True)
    assert "paid in the settle coin from now on" in await alerts_of(links)
    kept = await database.fetch("SELECT name, value FROM trading.account_settings WHERE account_id = $1", number)
    assert dict(map(tuple, kept)) == {"fees_in_mnt": "off", "margin_mode": "REGULAR_MARGIN"}


async def test_a_split_in_mid_position_continues_the_round_trip_with_its_cost(
    exchange: Simulator, listener: ListenerMaker, links: RedisClients, database: Any
) -> None:
    listener({"SHORTSELLER": "key-18"})
    await synced(links)
    await trade(exchange, "18", ("ADAUSDT", "Buy", "1000"), ("ADAUSDT", "Sell", "200"))
    await until(lambda: trades_stored(exchange, database, "18"), 30, "the fills")
    await ask(exchange, "split", symbol="ADAUSDT", ratio="5")
    await trade(exchange, "18", ("ADAUSDT", "Buy", "500"))
    uid = str((await exchange.account("key-18"))["uid"])

    async def adjusted() -> bool:
        row = await database.fetchrow(
            "SELECT p.qty, p.qty_before, s.held FROM trading.position_adjustments p JOIN trading.accounts a USING (account_id) "
            "JOIN trading.position_states s USING (account_id, category, symbol, leg) WHERE a.user_id = $1",
            uid,
        )
        return row is not None and tuple(row) == (4000, 800, 4500)

    await until(adjusted, 60, "the adjustment")
    state = await database.fetchrow("SELECT held, cost FROM trading.position_states s JOIN trading.accounts a USING (account_id) WHERE a.user_id = $1", uid)  # fmt: skip
    (held,) = (await exchange.account("key-18"))["positions"]
    assert state["held"] == D(held["size"])
    assert abs(state["cost"] / state["held"] - D(held["avgPrice"])) < D("0.0000001")
    await trade(exchange, "18", ("ADAUSDT", "Sell", "4500"))

    async def closed() -> bool:
        return bool(
            await database.fetchval(
                "SELECT count(*) FROM trading.position_summaries s JOIN trading.accounts a USING (account_id) WHERE a.user_id = $1",
                uid,
            )
        )

    await until(closed, 30, "the end of the round trip")
    trip = await database.fetchrow(
        "SELECT gross, qty FROM trading.position_summaries s JOIN trading.accounts a USING (account_id) WHERE a.user_id = $1",
        uid,
    )
    assert abs(trip["gross"] - D((await exchange.account("key-18"))["gross"])) < D("0.00000001")
    assert trip["qty"] == 5500, "in units after the split: a thousand became five thousand"
    assert "corporate action" in await alerts_of(links)


async def test_a_position_near_deleveraging_is_told_once(links: RedisClients) -> None:
    grouped = AlertBatcher(Alerts(links.shared, "test"))
    drawdowns: dict[str, Drawdown] = {}
    watch = AdlWatch(BOT, drawdowns, grouped)
    for rank in (3, 4, 4, 5, 2):
        watch.look([position(adlRankIndicator=rank)])
    await grouped.tell(all_of_it=True)
    drawdowns["BTCUSDT"] = Drawdown(D("-0.2"), D("-0.3"))
    watch.look([position()])
    drawdowns["BTCUSDT"] = Drawdown(D("-0.28"), D("-0.3"))
    watch.look([position()])
    watch.look([position()])
    await grouped.tell(all_of_it=True)
    texts = [fields["text"] for fields in await raised_alerts(links.shared)]
    assert len(texts) == 2
    assert "ADL rank 5" in texts[0]
    assert "-0.28" in texts[1]


async def test_the_drawdown_of_a_held_symbol_comes_over_the_public_stream(
    exchange: Simulator, listener: ListenerMaker, links: RedisClients
) -> None:
    listener({"SHORTSELLER": "key-19"})
    await synced(links)
    await trade(exchange, "19", ("XRPUSDT", "Buy", "100"))
    await ask(exchange, "drawdown", symbol="XRPUSDT", pnl_ratio="-0.29")

    async def told() -> bool:
        return "XRPUSDT is -0.29" in await alerts_of(links)

    await until(told, 30, "the alert")

    async def shown() -> bool:
        market = await links.shared.hgetall(keys.market("XRPUSDT"))
        return (market.get("adl_drawdown"), market.get("adl_trigger")) == ("-0.29", "-0.3")

    await until(shown, 10, "the drawdown in the market's hash")
    await ask(exchange, "drawdown", symbol="XRPUSDT", pnl_ratio="0")


def test_a_settlement_without_a_side_and_an_execution_without_a_seq_are_read() -> None:
    row = {
        "symbol": "BTCPERP", "orderId": "session-1", "side": "", "qty": "1", "orderPrice": "51000", "orderType": "UNKNOWN",
        "execType": "SessionSettlePnL", "closedSize": "1", "cumEntryValue": "50000", "avgEntryPrice": "50000",
        "cumExitValue": "51000", "avgExitPrice": "51000", "closedPnl": "-1000", "fillCount": "0", "leverage": "10",
        "openFee": "0", "closeFee": "0", "createdTime": "1735689600000", "updatedTime": "1735689600000",
    }  # fmt: skip
    (trade_,) = trades_of([parse_closed_pnl(row)])
    assert (trade_.direction, trade_.gross, trade_.funding) == ("short", D(-1000), D(0))
    funding = execution(execType="Funding", seq=None, closedSize="", orderId="")
    check_execution(funding)
    account = Account(1, BOT, Environment.SIMULATED, "1")
    assert fill_of(funding, account, reason_of_execution(funding, None), None).seq == -1  # type: ignore[arg-type]
