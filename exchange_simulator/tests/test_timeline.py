"""The same events happen at the same prices however time is divided into steps."""

import random
from decimal import Decimal

import numpy as np
import pytest

from exchange_simulator.engine import orders, settings
from exchange_simulator.engine.model import Execution, Refused, Rules
from exchange_simulator.engine.orders import NewOrder
from exchange_simulator.engine.settings import TradingStop
from exchange_simulator.engine.state import Engine
from exchange_simulator.market import catalogue
from exchange_simulator.market.model import PATHS, Path
from exchange_simulator.market.replay import ReplayMarket
from exchange_simulator.timeline import Timeline

BASE_MS = 300_000
START_MS = 1_700_006_400_000
BARS = 120
SYMBOLS = ("BTCUSDT", "ETHUSDT")


def random_market(rng: random.Random) -> ReplayMarket:
    """Two symbols with volatile candles."""
    rows: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.int64]]] = {}
    instruments = {}
    for symbol, price in zip(SYMBOLS, (500_000, 300_000), strict=True):
        listed = []
        last = price
        for number in range(BARS):
            first = last + (rng.randint(-1_500, 1_500) if rng.random() < 0.3 else 0)
            last = first + rng.randint(-3_000, 3_000)
            high = max(first, last) + rng.randint(0, 2_000)
            low = min(first, last) - rng.randint(0, 2_000)
            listed.append((START_MS + number * BASE_MS, first, high, low, last, rng.randint(0, 5_000)))
        rows[symbol] = np.array(listed, dtype=np.int64)
        tick = Decimal("0.1") if symbol == "BTCUSDT" else Decimal("0.01")
        instruments[symbol] = catalogue.instrument(symbol, price=price * tick, launch_ms=0, tick=tick)
    return ReplayMarket(rows, instruments, Decimal("0.0002"))


def traded(market: ReplayMarket, path: Path, seed: int, cuts: str) -> list[tuple[object, ...]]:
    """The executions of random orders placed at every eighth open, with time divided in one of several ways."""
    engine = Engine(market.instruments, Rules(), seed=1)
    rng, cutter = random.Random(seed), random.Random(seed + 1)
    account = engine.open_account(1, Decimal(10_000_000))
    closed: list[int] = []
    timeline = Timeline(engine, market, path, START_MS, closed.append, lambda: None)
    timeline.begin()
    for bar in range(0, BARS - 8, 8):
        for _ in range(3):
            _place(engine, account.uid, rng)
        target = START_MS + (bar + 8) * BASE_MS
        if cuts == "points":
            while engine.now_ms < target:
                timeline.step()
        elif cuts == "at once":
            timeline.advance(target, fine=False)
        else:
            while engine.now_ms < target:
                timeline.advance(min(target, engine.now_ms + cutter.randint(1, BASE_MS)))
    assert closed == [START_MS + number * BASE_MS for number in range(1, len(closed) + 1)]
    return [
        (e.symbol, e.side, e.exec_type, e.price, e.qty, e.fee, e.stop_order_type)
        for e in engine.events
        if isinstance(e, Execution)
    ]


def _place(engine: Engine, uid: int, rng: random.Random) -> None:
    account, symbol = engine.accounts[uid], rng.choice(SYMBOLS)
    book = engine.books[symbol]
    tick = book.instrument.tick_size
    side = rng.choice(("Buy", "Sell"))
    sign = 1 if side == "Buy" else -1

    def at(ticks: int) -> Decimal:
        return book.last + ticks * tick

    kind = rng.random()
    try:
        if kind < 0.4:
            orders.create(
                engine,
                account,
                NewOrder(
                    symbol, side, "Market", Decimal(rng.randint(1, 20)) / 10,
                    take_profit=at(sign * rng.randint(500, 9_000)), stop_loss=at(-sign * rng.randint(500, 9_000)),
                ),
            )  # fmt: skip
        elif kind < 0.7:
            price = at(-sign * rng.randint(10, 5_000))
            orders.create(engine, account, NewOrder(symbol, side, "Limit", Decimal(rng.randint(1, 20)) / 10, price))
        else:
            stop = TradingStop(symbol, trailing_stop=tick * rng.randint(300, 4_000))
            settings.set_trading_stop(engine, account, stop)
    except Refused:
        return


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("seed", range(12))
def test_trades_do_not_depend_on_how_time_is_cut(seed: int, path: Path) -> None:
    market = random_market(random.Random(seed))
    by_points = traded(market, path, seed, "points")
    assert len(by_points) > 20
    assert traded(market, path, seed, "at once") == by_points
    anywhere = traded(market, path, seed, "anywhere")
    for symbol in SYMBOLS:  # between two points the order of the symbols may differ
        assert [row for row in anywhere if row[0] == symbol] == [row for row in by_points if row[0] == symbol]


def test_the_forming_candle_ends_as_the_candle_of_the_market() -> None:
    market = random_market(random.Random(5))
    engine = Engine(market.instruments, Rules(), seed=1)
    timeline = Timeline(engine, market, "high-first", START_MS, lambda time_ms: None, lambda: None)
    timeline.begin()
    volume = 0
    for number in range(3):
        bar = market.bar("BTCUSDT", START_MS + number * BASE_MS)
        for share in (1, 40, 99, 100):
            timeline.advance(START_MS + number * BASE_MS + share * BASE_MS // 100 - 1)
            forming = timeline.forming("BTCUSDT")
            assert forming is not None
            assert forming.volume >= volume or share == 1
            volume = forming.volume
        assert forming == bar


def test_a_market_resumed_in_the_middle_of_a_candle_goes_on_there() -> None:
    market = random_market(random.Random(6))
    whole, parts = (Engine(market.instruments, Rules(), seed=1) for _ in range(2))
    one = Timeline(whole, market, "low-first", START_MS, lambda time_ms: None, lambda: None)
    one.begin()
    one.advance(START_MS + 5 * BASE_MS + 150_000)
    parts.now_ms = whole.now_ms
    for symbol in SYMBOLS:
        parts.books[symbol].set_last(whole.books[symbol].last)
    other = Timeline(parts, market, "low-first", START_MS, lambda time_ms: None, lambda: None)
    other.begin(resume_ms=whole.now_ms)
    for timeline in (one, other):
        timeline.advance(START_MS + 9 * BASE_MS + 10)
    for symbol in SYMBOLS:
        assert parts.books[symbol].last == whole.books[symbol].last
        assert one.forming(symbol) == other.forming(symbol)
