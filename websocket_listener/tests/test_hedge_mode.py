"""An account in hedge mode, listened to: two positions per symbol, kept apart in every place."""

from decimal import Decimal
from typing import Any

import pytest

from alpha.clock import wall_ms
from alpha.live_state.connect import RedisClients
from alpha.live_state.read import read_orders, read_position, read_positions
from alpha.model.leg import LONG, SHORT, hedge_leg
from tests.support.world import BotKey, Simulator, Trader, until
from websocket_listener.leg_keeper import once_hedged
from websocket_listener.legs import LegIssue, Legs
from websocket_listener.tests.conftest import ListenerMaker
from websocket_listener.tests.rows import execution, order, position
from websocket_listener.tests.test_process import BOT, DATABASE, synced


async def trade(exchange: Simulator, name: str, *orders: tuple[str, str, str, int]) -> None:
    """Market orders: symbol, side, quantity, positionIdx."""
    client = Trader(exchange.url, BotKey("", "", f"key-{name}", f"secret-{name}"))
    for symbol, side, qty, idx in orders:
        answer = await client.order(symbol, side, qty, positionIdx=idx)
        assert answer["retCode"] == 0, answer
    await client.close()


async def test_both_legs_are_recorded_and_shown_apart(
    exchange: Simulator, listener: ListenerMaker, links: RedisClients, database: Any
) -> None:
    before = (("ETHUSDT", "Buy", "2", 1), ("ETHUSDT", "Sell", "1", 2), ("ETHUSDT", "Sell", "0.5", 1))
    await trade(exchange, "hedge", *before)
    listener({"SHORTSELLER": "key-hedge"})
    await synced(links)
    # the flat short leg after the open long is flat alone
    after = (
        ("ETHUSDT", "Buy", "1", 2),
        ("SOLUSDT", "Buy", "10", 1),
        ("SOLUSDT", "Sell", "5", 2),
        ("SOLUSDT", "Buy", "2", 2),
    )
    await trade(exchange, "hedge", *after)
    account = await exchange.account("key-hedge")
    redis = links.database(DATABASE[BOT])

    async def recorded() -> bool:
        number = await database.fetchval(
            "SELECT count(*) FROM trading.fills f JOIN trading.accounts a USING (account_id) WHERE a.user_id = $1 "
            "AND f.exec_type = 'Trade'",
            str(account["uid"]),
        )
        return bool(number == len([row for row in await exchange.ledger("key-hedge") if row["execType"] == "Trade"]))

    await until(recorded, 30, "the fills")
    await synced(links, since_ms=wall_ms())
    held = {(row["symbol"], row["positionIdx"]): Decimal(row["size"]) for row in account["positions"]}
    assert held == {("ETHUSDT", 1): Decimal("1.5"), ("SOLUSDT", 1): Decimal(10), ("SOLUSDT", 2): Decimal(3)}
    shown = await read_positions(redis, BOT)
    assert [(row.symbol, row.leg, row.size) for row in shown] == [
        ("ETHUSDT", "long", Decimal("1.5")),
        ("SOLUSDT", "long", Decimal(10)),
        ("SOLUSDT", "short", Decimal(3)),
    ]
    assert [row.entry_price for row in shown] == [Decimal(row["avgPrice"]) for row in account["positions"]]
    flat = await read_position(redis, BOT, "ETHUSDT:short")
    assert flat is not None
    assert not flat.size
    assert await read_position(redis, BOT, "ETHUSDT") is None
    states = await database.fetch(
        "SELECT symbol, leg, CASE WHEN is_long THEN held ELSE -held END AS held, gross FROM trading.position_states "
        "JOIN trading.accounts a USING (account_id) WHERE a.user_id = $1 AND held > 0 ORDER BY symbol, leg",
        str(account["uid"]),
    )
    assert [(row["symbol"], row["leg"], row["held"]) for row in states] == [
        ("ETHUSDT", "long", Decimal("1.5")),
        ("SOLUSDT", "long", Decimal(10)),
        ("SOLUSDT", "short", Decimal(-3)),
    ]
    wrong = await database.fetchval(
        "SELECT count(*) FROM trading.fills f JOIN trading.orders o USING (account_id, order_id) "
        "JOIN trading.accounts a USING (account_id) WHERE a.user_id = $1 AND f.leg <> o.leg",
        str(account["uid"]),
    )
    assert wrong == 0
    trips = await database.fetch(
        "SELECT leg, direction, gross FROM trading.position_summaries s JOIN trading.accounts a USING (account_id) "
        "WHERE a.user_id = $1",
        str(account["uid"]),
    )
    assert [(row["leg"], row["direction"]) for row in trips] == [("short", "short")]
    gross = sum((row["gross"] for row in [*trips, *states]), Decimal(0))
    assert gross == Decimal(account["gross"]), "what was realised, leg by leg, is what the exchange says"


async def test_a_stop_of_each_leg_is_an_order_of_that_leg(
    exchange: Simulator, listener: ListenerMaker, links: RedisClients
) -> None:
    await trade(exchange, "legs", ("SOLUSDT", "Buy", "10", 1), ("SOLUSDT", "Sell", "5", 2))
    client = Trader(exchange.url, BotKey("", "", "key-legs", "secret-legs"))
    for idx, stop in ((1, "1"), (2, "100000")):
        body = {"category": "linear", "symbol": "SOLUSDT", "tpslMode": "Full", "positionIdx": idx, "stopLoss": stop}
        assert (await client.post("/v5/position/trading-stop", body))["retCode"] == 0
    await client.close()
    listener({"SHORTSELLER": "key-legs"})
    await synced(links)
    redis = links.database(DATABASE[BOT])
    orders = (await read_orders(redis, BOT)).values()
    assert sorted((row["positionIdx"], row["triggerPrice"]) for row in orders) == [(1, "1"), (2, "100000")]
    assert [row.stop_loss for row in await read_positions(redis, BOT)] == [Decimal(1), Decimal(100000)]


@pytest.mark.parametrize(
    ("side", "closed", "leg"),
    [("Buy", "0", LONG), ("Sell", "0.5", LONG), ("Sell", "0", SHORT), ("Buy", "0.5", SHORT)],
)
def test_side_and_closed_size_tell_the_leg(side: str, closed: str, leg: str) -> None:
    assert hedge_leg(side, Decimal(closed)) == leg
    assert hedge_leg(side, None) is None
    assert hedge_leg("Buy", None, funding=True) == LONG


def test_two_openings_of_opposite_sides_show_that_a_symbol_was_in_hedge_mode() -> None:
    opens = [execution(execId="a"), execution(execId="b", side="Sell")]
    assert once_hedged(opens) == {"BTCUSDT"}
    closed_between = [opens[0], execution(execId="c", side="Sell", closedSize="0.5"), opens[1]]
    assert once_hedged(closed_between) == set()


def test_the_order_counts_and_a_disagreement_is_an_issue() -> None:
    legs = Legs()
    assert legs.of(execution()) is None, "neither the order nor the mode is known"
    legs.position(position(positionIdx=2, side="", size="0"))
    assert legs.of(execution()) == LONG
    legs.order(order(positionIdx=1))
    assert legs.of(execution()) == LONG
    assert not legs.issues
    # told by its fields first, by its order then
    assert legs.of(execution(execId="exec-2", orderId="order-2")) == LONG
    legs.order(order(orderId="order-2", positionIdx=2))
    assert legs.issues == [LegIssue("BTCUSDT", "exec-2", "order-2", SHORT, LONG)]
    assert legs.of(execution(execId="exec-3", orderId="order-2", closedSize="0.5")) == SHORT
    assert legs.of(execution(execId="exec-3", symbol="ETHUSDT")) == LONG, "an order of this id is known"
    legs.position(position(symbol="ETHUSDT", positionIdx=0))
    assert legs.of(execution(symbol="ETHUSDT", orderId="order-9")) == "both"
