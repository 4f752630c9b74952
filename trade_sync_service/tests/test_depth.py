"""Orders that sweep several price levels and reverse positions: the ledger equals the exchange's, fill for fill.

The fills of one match share their time and `seq`, and their ids are random: only `closed_size` tells what was closed
first.
"""

import random
from collections import defaultdict
from decimal import Decimal

import pytest
from msgspec import structs

from alpha.config.services import DatabaseSettings
from alpha.postgres.database import Connection
from alpha.postgres.fills import Fill, insert_fills
from alpha.postgres.ledger import verify
from exchange_simulator.engine.model import Refused, Rules
from tests.support.sync_world import DAY_MS, START_MS, World, fill_of, make_exchange, open_store, world
from trade_sync_service.domain.coverage import Interval
from trade_sync_service.reconciliation import Reconciliation

BOT = "shortseller_001"
SYMBOLS = ("BTCUSDT", "ETHUSDT")


def trade_with_depth(place: World, seed: int, orders: int) -> None:
    """Send random market orders, most of which fill at several levels; many of them reverse the position."""
    rng = random.Random(seed)
    for _ in range(orders):
        place.move(rng.choice((1, 1_000, 60_000, 3_600_000)))
        symbol = rng.choice(SYMBOLS)
        step = place.exchange.market.instruments[symbol].qty_step
        held = place.account(BOT).size(symbol)
        wanted = Decimal(rng.randrange(100, 4_000)) / place.price(symbol)
        if held and rng.random() < 0.6:
            wanted = abs(held) * rng.choice((Decimal("0.5"), Decimal(1), Decimal("1.5"), Decimal(2)))
            side = "Sell" if held > 0 else "Buy"
        else:
            side = rng.choice(("Buy", "Sell"))
        try:
            place.order(BOT, symbol, side, max(step, (wanted / step).to_integral_value() * step))
        except Refused:
            continue


def arrivals(fills: list[Fill], how: str, rng: random.Random) -> list[list[Fill]]:
    """Batches as the stream or REST delivers them (REST opens lack `closed_size`), or shuffled, complete at the end."""
    pushed: list[list[Fill]] = []
    left = list(fills)
    if how == "any order":
        rng.shuffle(left)
        left = [structs.replace(fill, closed_size=None, exec_pnl=None) for fill in left] + rng.sample(fills, len(fills))
    elif how == "rest":
        left = [structs.replace(fill, closed_size=fill.closed_size or None, exec_pnl=None) for fill in left]
    while left:
        size = rng.randrange(1, 25)
        pushed.append(left[:size])
        left = left[size:]
    return pushed


@pytest.mark.parametrize(("seed", "how"), [(1, "stream"), (2, "rest"), (3, "any order")])
async def test_every_round_trip_equals_the_closed_pnl_of_the_exchange(
    sync_settings: DatabaseSettings, owner_settings: DatabaseSettings, owner: Connection, seed: int, how: str
) -> None:
    exchange = make_exchange(seed, Rules(depth_usdt=Decimal(300), spread_ticks=2))
    async with world(exchange) as place:
        trade_with_depth(place, seed, 400)
        account = await owner.fetchval(
            "SELECT trading.register_account('simulated', $1, $2)", str(place.keys[BOT].uid), BOT
        )
        fills = [fill_of(row, account, BOT) for row in place.executions(BOT)]
        for batch in arrivals(fills, how, random.Random(seed)):
            await insert_fills(owner, batch)
        store = await open_store(sync_settings, place, BOT)
        async with place.gateway(BOT) as gateway:
            await place.sync(gateway, store).run(history_days=60)
            span = Interval(START_MS - DAY_MS, exchange.now_ms + 1)
            report = await Reconciliation(gateway, store, grace_s=0.0, lag_ms=0).run(span)
        await store.close()
        assert report.differences == []
        assert await owner.fetchval("SELECT count(*) FROM trading.reconciliation_issues WHERE state <> 'resolved'") == 0
        # independent of the reconciliation: what was closed, by symbol and direction, and what each match closed
        gross: dict[tuple[str, bool], Decimal] = defaultdict(lambda: Decimal(0))
        for row in place.closed(BOT):
            is_long = row.closing_side == "Sell"
            gross[row.symbol, is_long] += (row.exit_value - row.entry_value) * (1 if is_long else -1)
        ours = await owner.fetch(
            "SELECT symbol, is_long, gross FROM trading.round_trips UNION ALL "
            "SELECT symbol, is_long, gross FROM trading.position_states"
        )
        summed: dict[tuple[str, bool], Decimal] = defaultdict(lambda: Decimal(0))
        for stored in ours:
            summed[stored["symbol"], stored["is_long"]] += stored["gross"]
        # exact, except that the order of closes within one match decides how their cost shares are rounded
        assert {key: round(value, 8) for key, value in summed.items()} == {
            key: round(value, 8) for key, value in gross.items()
        }
        several = await owner.fetchval(
            "SELECT count(*) FROM (SELECT FROM trading.fills GROUP BY symbol, seq, exec_time HAVING count(*) > 2) AS unit"
        )
        turned = await owner.fetchval("SELECT count(*) FROM trading.round_trips WHERE NOT ends_flat")
        assert several > 50
        assert turned > 30
        assert (await verify(owner_settings, lambda fills: None)).differences == []
    exchange.storage.close()
