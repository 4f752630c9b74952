"""Contracts whose market closes: no bars, no market orders, on weekends only what reduces, and a jump at the open."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from exchange_simulator.engine import orders
from exchange_simulator.engine.model import Order, Refused
from exchange_simulator.engine.orders import NewOrder
from exchange_simulator.exchange import Exchange
from exchange_simulator.keys import parse_account
from exchange_simulator.market.intervals import FIXED_MS
from exchange_simulator.market.sessions import UNDERLYINGS, is_open
from exchange_simulator.options import parse
from exchange_simulator.rest.market import instrument_row

STOCK = "AAPLUSDT"


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def exchange(start: str) -> Exchange:
    options = parse(["--symbols", f"BTCUSDT,{','.join(UNDERLYINGS)}", "--start", start, "--speed", "60"], {})
    return Exchange(options.market, [parse_account("k:s:1000000")], options.setup)


def place(made: Exchange, **more: Any) -> Order:
    (account,) = made.engine.accounts.values()
    step = made.market.instruments[STOCK].qty_step
    return orders.create(made.engine, account, replace(NewOrder(STOCK, "Buy", "Market", step * 100), **more))


def code(made: Exchange, **more: Any) -> int:
    with pytest.raises(Refused) as caught:
        place(made, **more)
    return caught.value.code


def test_bars_exist_while_the_market_is_open_and_only_then() -> None:
    made = exchange("2026-11-30T12:00")
    begin, end = ms("2026-11-23 00:00"), ms("2026-11-30 00:00")
    for symbol in UNDERLYINGS:
        starts = {bar.start_ms for bar in made.market.bars(symbol, begin, end)}
        assert starts == {at for at in range(begin, end, 60_000) if is_open(symbol, at)}
        for interval in ("5", "60", "240", "D"):
            kept = {bar.start_ms for bar in made.market.candles(symbol, interval, begin, end)}
            # New York's hours begin and end within an hour of UTC: a candle exists where a minute of it does
            assert kept == {at // FIXED_MS[interval] * FIXED_MS[interval] for at in starts}
    assert len(made.market.bars("BTCUSDT", begin, end)) == 7 * 1440
    made.close()


def test_the_instrument_says_what_it_stands_for() -> None:
    made = exchange("2026-11-30T15:00")
    rows = {symbol: instrument_row(made.market.instruments[symbol], made.now_ms) for symbol in made.market.instruments}
    assert (rows[STOCK]["symbolType"], rows[STOCK]["marketRegion"]) == ("stock", "US")
    assert rows["XAUUSDT"]["symbolType"] == "commodity"
    assert rows["BTCUSDT"]["symbolType"] == ""
    made.close()


def test_orders_of_a_closed_session() -> None:
    made = exchange("2026-11-30T15:00")  # Monday, an hour after the open
    place(made)
    made.timeline.advance(ms("2026-11-30 22:00"))
    last = made.engine.books[STOCK].last
    assert code(made) == 110065
    assert code(made, side="Sell", reduce_only=True) == 110065
    # what may wait is taken, and waits
    low = (last * Decimal("0.99") // made.market.instruments[STOCK].tick_size) * made.market.instruments[
        STOCK
    ].tick_size
    assert place(made, order_type="Limit", price=low).status == "New"
    made.timeline.advance(ms("2026-12-01 14:29"))
    assert made.engine.books[STOCK].last == last, "the price stands still while the market is closed"
    made.timeline.advance(ms("2026-12-01 14:31"))
    assert made.engine.books[STOCK].last != last
    place(made, side="Sell", reduce_only=True)
    made.timeline.advance(ms("2026-12-05 15:00"))  # Saturday
    assert code(made) == 110023
    assert code(made, side="Sell", reduce_only=True) == 110065
    made.close()
