"""Slippage against a recomputation with plain loops."""

import random
from datetime import timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import polars as pl
import pytest

from alpha.config.loader import load
from alpha.model.timestamp import at
from alpha.postgres.migrate import MigrateSettings, run
from demo.postgres import EmbeddedPostgres
from tests.support.world import ROOT
from tick_recorder.own_fills import read_fills
from tick_recorder.schema import MONEY, SCHEMAS, TS, Kind
from tick_recorder.slippage import HORIZONS, measure, summarise, worse_than_assumed

T0 = 1_700_000_000_000
FILLS: dict[str, Any] = {
    "exec_id": pl.String, "bot_id": pl.String, "symbol": pl.String, "ts": TS, "side": pl.String, "price": MONEY, "qty": MONEY,
    "value": MONEY, "is_maker": pl.Boolean, "reason": pl.String, "order_kind": pl.String, "decision_price": MONEY,
}  # fmt: skip


def market(draw: random.Random) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Random fills, quotes and gaps of one symbol over ten minutes."""
    quotes: list[dict[str, Any]] = []
    fills: list[tuple[Any, ...]] = []
    gaps: list[dict[str, Any]] = []
    ts, mid = T0, Decimal(100)
    holes = [(T0 + 120_000, T0 + 150_000), (T0 + 400_000, T0 + 401_000)]
    while ts < T0 + 600_000:
        ts += draw.randrange(0, 3_000)
        mid += Decimal(draw.randrange(-20, 21)) / 100
        if any(a < ts < b for a, b in holes):
            continue
        count = draw.choice((1, 1, 3))
        for ordinal in range(count):
            bid, ask = mid - Decimal(draw.randrange(1, 9)) / 100, mid + Decimal(draw.randrange(1, 9)) / 100
            row = {"ts": at(ts), "received": None, "ordinal": ordinal, "bid_price": bid, "bid_size": Decimal(1)}
            quotes.append({**row, "ask_price": ask, "ask_size": Decimal(1), "update_id": len(quotes), "seq": 1})
        ts += 1
    for number in range(300):
        moment = at(T0 - 2_000 + draw.randrange(640_000)) if number % 5 else quotes[draw.randrange(len(quotes))]["ts"]
        price = Decimal(draw.randrange(9_500, 10_500)) / 100
        decided = price + Decimal(draw.randrange(-50, 51)) / 100 if number % 3 else None
        fills.append(
            (f"e{number}", "bot", "A", moment, draw.choice(("Buy", "Sell")), price, Decimal(2), price * 2, number % 4 == 0,
             "entry", draw.choice((None, "market")), decided)
        )  # fmt: skip
    for a, b in holes:
        before = max(quote["ts"] for quote in quotes if quote["ts"] <= at(a))
        after = min(quote["ts"] for quote in quotes if quote["ts"] >= at(b))
        gaps.append({"ts": before, "until": after, "kind": "bbo", "symbol": "A", "gap_id": str(a), "state": "closed",
                     "reason": "cut", "received": None, "ordinal": 0})  # fmt: skip
    return (
        pl.DataFrame(fills, schema=FILLS, orient="row"),
        pl.DataFrame(quotes, schema=dict(SCHEMAS[Kind.BBO])),
        pl.DataFrame(gaps, schema=dict(SCHEMAS[Kind.GAPS])),
    )


def mid_at(quotes: list[dict[str, Any]], gaps: list[dict[str, Any]], moment: Any, *, before: bool) -> Decimal | None:
    """The mid that held at a moment, found by looking at every quote."""
    usable = [quote for quote in quotes if quote["ts"] < moment or (not before and quote["ts"] == moment)]
    if not usable:
        return None
    last = max(usable, key=lambda quote: (quote["ts"], quote["ordinal"]))
    if any(gap["ts"] < moment and gap["until"] > last["ts"] for gap in gaps):
        return None
    return Decimal(last["bid_price"] + last["ask_price"]) / 2


@pytest.mark.parametrize("seed", range(4))
def test_it_equals_a_recomputation(seed: int) -> None:
    fills, quotes, gaps = market(random.Random(seed))
    found = measure(fills, {"A": quotes}, {"A": gaps})
    assert found.height == fills.height
    quote_rows, gap_rows = quotes.to_dicts(), gaps.to_dicts()
    unknown = 0
    for row in found.to_dicts():
        side = 1 if row["side"] == "Buy" else -1
        mid = mid_at(quote_rows, gap_rows, row["ts"], before=True)
        expected: dict[str, Decimal | None] = {
            "slippage_bps": None if mid is None else side * (row["price"] - mid) / mid * 10_000,
            "delay_bps": None
            if mid is None or row["decision_price"] is None
            else side * (mid - row["decision_price"]) / row["decision_price"] * 10_000,
        }
        for seconds in HORIZONS:
            later = mid_at(quote_rows, gap_rows, row["ts"] + timedelta(seconds=seconds), before=False)
            known = mid is not None and later is not None
            expected[f"after_{seconds}s_bps"] = side * (later - mid) / mid * 10_000 if known else None  # type: ignore[operator]
        unknown += mid is None
        for name, value in expected.items():
            if value is None:
                assert row[name] is None, (name, row)
            else:
                assert row[name] == pytest.approx(float(value), abs=1e-6), (name, row)
    assert 0 < unknown < found.height / 2
    total = summarise(found)
    measured = [row for row in found.to_dicts() if row["slippage_bps"] is not None]
    cost = sum(float(row["value"]) * row["slippage_bps"] for row in measured) / 10_000
    assert total["slippage_usdt"][0] == pytest.approx(cost)
    assert total["measured"][0] == len(measured)
    for by in ("bot_id", "symbol", "order_kind", "hour", "size", "reason"):
        assert summarise(found, [by])["fills"].sum() == found.height


def test_reality_that_is_worse_than_the_back_test_is_said() -> None:
    fills, quotes, _ = market(random.Random(1))
    dear = fills.with_columns(
        price=(pl.when(pl.col("side") == "Buy").then(Decimal(110)).otherwise(Decimal(90))).cast(MONEY)
    )
    found = measure(dear, {"A": quotes}, {})
    assert "more than the 3 bps" in str(worse_than_assumed(found, 3))
    assert worse_than_assumed(found, 5_000) is None
    assert worse_than_assumed(measure(dear, {}, {}), 3) is None


async def test_fills_come_with_their_intents_where_there_are_any(postgres_server: EmbeddedPostgres) -> None:
    arguments = {name.lower(): value for name, value in postgres_server.environment().items()}
    await run(load(MigrateSettings, env_file=None, bots_file=ROOT / "bots.toml", **arguments))
    connection = await asyncpg.connect(
        host="127.0.0.1", port=postgres_server.port, user=arguments["postgres_user"], password=arguments["postgres_password"],
        database=arguments["postgres_db"],
    )  # fmt: skip
    try:
        transaction = connection.transaction()
        await transaction.start()
        account = await connection.fetchval(
            "SELECT trading.register_account('simulated', 'slippage', 'shortseller_001')"
        )
        for number, link in enumerate(("ss-en-1", "ss-en-2")):
            await connection.execute(
                "INSERT INTO trading.fills (account_id, bot_id, category, symbol, exec_id, order_id, order_link_id, side, "
                "exec_type, reason, price, qty, value, fee, is_maker, seq, exec_time, received_at) VALUES ($1, 'shortseller_001', "
                "'linear', 'BTCUSDT', $2, $2, $3, 'Buy', 'Trade', 'entry', 100.5, 2, 201, 0.1, false, $4, $5, $5)",
                account, f"exec-{number}", link, number, at(T0 + number),
            )  # fmt: skip
        found = await read_fills(connection, "shortseller_001", 7)
        assert found["decision_price"].to_list() == [None, None]
        await connection.execute(
            "INSERT INTO trading.order_intents (account_id, order_link_id, bot_id, symbol, bar_start, intent, order_kind, side, qty, "
            "reason, decision_price, decided_at) VALUES ($1, 'ss-en-2', 'shortseller_001', 'BTCUSDT', $2, 'enter', 'market', 'Buy', "
            "2, 'entry', 100.25, $2)",
            account, at(T0),
        )  # fmt: skip
        found = await read_fills(connection, "shortseller_001", 7)
        assert found["decision_price"].to_list() == [None, Decimal("100.25")]
        assert found["order_kind"].to_list() == [None, "market"]
        assert found["price"].to_list() == [Decimal("100.5")] * 2
        await transaction.rollback()
    finally:
        await connection.close()
