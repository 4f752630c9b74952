"""On the same ticks a back-test and the simulated exchange fill the same orders: same prices, fees, times and balance."""

import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from random import Random

import pytest

from exchange_simulator.market.ticks import open_ticks
from tests.parity.instruments import with_instruments
from tests.parity.random_runs import SYMBOLS, Outcome, back, bots_file
from tests.parity.test_random_strategies import live
from tests.support.bot_harness import Servers
from tests.support.recorded_ticks import write
from tick_recorder.schema import Kind

SEEDS = int(os.environ.get("PARITY_SEEDS", "2"))
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
START = BEGIN + timedelta(days=2, hours=7)
BARS = 24
CLOSE = Decimal("1e-12")
PRICES = {"ETHUSDT": (3400.0, "0.01"), "SOLUSDT": (180.0, "0.01"), "XRPUSDT": (2.2, "0.0001")}


def made(folder: Path, seed: int) -> tuple[Path, Path]:
    """Ticks, a trade a minute and from the start on one in about twenty seconds, and their candles."""
    ticks, candles = folder / "ticks", folder / "made"
    candles.mkdir()
    draw = Random(f"ticks {seed}")
    begin_ms, start_ms = (int(moment.timestamp() * 1000) for moment in (BEGIN, START))
    end_ms = start_ms + (BARS + 1) * 300_000
    for symbol in SYMBOLS:
        price, tick = PRICES[symbol][0], Decimal(PRICES[symbol][1])
        trades: list[dict[str, object]] = []
        quotes: list[dict[str, object]] = []
        now_ms = begin_ms
        while now_ms < end_ms:
            price *= 1 + draw.gauss(0, 0.0008)
            bid = round(Decimal(price) / tick) * tick
            ask = bid + tick * draw.choice((1, 1, 2, 9))
            size = Decimal(draw.choice((1, 100_000, 10_000_000)))
            sides = {"bid_price": bid, "bid_size": size, "ask_price": ask, "ask_size": size}
            quotes.append({"ts": now_ms, "update_id": len(quotes), **sides})
            buys = draw.random() < 0.5
            row = {
                "side": "Buy" if buys else "Sell",
                "price": ask if buys else bid,
                "size": Decimal(draw.randint(1, 50)),
            }
            trades.append(
                {"ts": now_ms + draw.choice((0, 1, 400)), "id": f"{symbol}{len(trades)}", "block": False, **row}
            )
            now_ms += 60_000 if now_ms < start_ms else draw.randint(1, 40_000)
        write(ticks, Kind.TRADES, trades, symbol)
        write(ticks, Kind.BBO, quotes, symbol)
    market = open_ticks(ticks)
    for symbol, instrument in market.instruments.items():
        lines = ["start_ms,open,high,low,close,volume"]
        for bar in market.candles(symbol, "5", begin_ms, end_ms):
            prices = (str(instrument.price(value)) for value in bar[1:5])
            lines.append(",".join((str(bar.start_ms), *prices, str(instrument.qty(bar.volume)))))
        (candles / f"{symbol}.csv").write_text("\n".join(lines) + "\n")
    return ticks, with_instruments(candles, folder / "candles")


def folded(outcome: Outcome) -> dict[str, list[tuple[object, ...]]]:
    """Fills by symbol, those of one moment and side as one: time, side, quantity, value, fee.

    The exchange books each level of the book that a taker meets, the back-test their average, which may not end.
    """
    found: dict[str, list[tuple[object, ...]]] = {}
    for symbol, fills in outcome.fills.items():
        together = groupby(fills, key=lambda fill: (fill[4], fill[0]))
        for (time_ms, side), some in together:
            rows = list(some)
            sums = (sum(qty * price for _, qty, price, _, _ in rows), sum(fee for *_, fee, _ in rows))
            qty = sum(qty for _, qty, *_ in rows)
            found.setdefault(symbol, []).append(
                (time_ms, side, qty, *(Decimal(value).quantize(CLOSE) for value in sums))
            )
    return found


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
async def test_a_random_strategy_trades_the_same_live_and_in_the_back_test(
    tmp_path: Path, seed: int, servers: Servers
) -> None:
    bots = bots_file(tmp_path)
    ticks, candles = made(tmp_path, seed)
    expected, _ = back(candles, START, seed, bots, bars=BARS, ticks=ticks)
    found = await live(tmp_path, ("--ticks", str(ticks)), START, seed, bots, servers, bars=BARS)
    assert sum(map(len, expected.fills.values())) > 5
    assert folded(found) == folded(expected)
    assert found.wallet.quantize(CLOSE) == expected.wallet.quantize(CLOSE)
    assert found.open == expected.open
