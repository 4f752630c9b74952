"""Recorded ticks as a market: every trade and quote at its time, and orders matched against them."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from exchange_simulator.engine import orders, settings
from exchange_simulator.engine.account import Account
from exchange_simulator.engine.model import Execution, Order, Rules
from exchange_simulator.engine.orders import NewOrder
from exchange_simulator.engine.settings import TradingStop
from exchange_simulator.exchange import Exchange, Setup
from exchange_simulator.market import Bar, Market, MarketError
from exchange_simulator.market.ticks import Print, Shown, TickMarket, open_ticks
from exchange_simulator.options import BadOption, parse
from tests.support.recorded_ticks import write
from tick_recorder.schema import HOUR_MS, Kind
from tick_recorder.store import TickStore

D = Decimal
BTC = "BTCUSDT"
START = 1_700_006_400_000  # the start of an hour


def trades(*rows: tuple[int, str, str, str]) -> list[dict[str, object]]:
    """Rows of (milliseconds after START, side, price, size)."""
    return [
        {"ts": START + ms, "side": side, "price": D(price), "size": D(size), "id": f"t{number}", "block": False}
        for number, (ms, side, price, size) in enumerate(rows)
    ]


def quotes(*rows: tuple[int, str | None, str | None]) -> list[dict[str, object]]:
    """Rows of (milliseconds after START, bid, ask), each with a size of 0.5."""
    return [
        {
            "ts": START + ms,
            "bid_price": D(bid) if bid else None,
            "bid_size": D("0.5") if bid else None,
            "ask_price": D(ask) if ask else None,
            "ask_size": D("0.5") if ask else None,
            "update_id": number,
        }
        for number, (ms, bid, ask) in enumerate(rows)
    ]


OPEN: list[Exchange] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


def opened(root: Path, spread: int = 0) -> tuple[Exchange, Account]:
    """An exchange on recorded ticks, and an account."""
    exchange = Exchange(
        open_ticks(root), (), Setup(rules=Rules(spread_ticks=spread, through_ticks=1), start_ms=START, step_clock=True)
    )
    OPEN.append(exchange)
    # events are not stored, so that `fills` has them all
    exchange.timeline._on_point = lambda: None
    exchange.timeline._on_open = lambda _: None
    return exchange, exchange.engine.open_account(1, D(1_000_000))


def place(exchange: Exchange, account: Account, side: str, qty: str, price: str | None = None, **more: str) -> Order:
    kind = "Market" if price is None else "Limit"
    new = NewOrder(
        symbol=BTC,
        side=side,
        order_type=kind,
        qty=D(qty),
        price=D(price or 0),
        **more,  # type: ignore[arg-type]
    )
    return orders.create(exchange.engine, account, new)


def fills(exchange: Exchange) -> list[tuple[int, str, Decimal, Decimal, bool]]:
    """Executions so far: milliseconds after START, side, price, quantity, maker."""
    return [
        (event.time_ms - START, event.side, event.price, event.qty, event.is_maker)
        for event in exchange.engine.events
        if isinstance(event, Execution)
    ]


def advance(exchange: Exchange, ms: int) -> None:
    """Advances to milliseconds after START."""
    exchange.timeline.advance(START + ms)


USUAL = (
    trades((0, "Buy", "50000.1", "0.010"), (1_000, "Sell", "49990", "0.02"), (130_000, "Buy", "50010.0", "0.005")),
    quotes((0, "50000", "50000.1"), (1_000, "49980", "49991"), (130_000, "50009.9", "50010")),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, Kind.TRADES, USUAL[0])
    write(tmp_path, Kind.BBO, USUAL[1])
    return tmp_path


def test_minutes_are_made_from_trades_and_a_quiet_one_is_flat(folder: Path) -> None:
    market = open_ticks(folder)
    assert isinstance(market, Market)
    assert (market.base_ms, market.first_ms, market.end_ms) == (60_000, START, START + 180_000)
    assert market.bars(BTC, START, START + 180_000) == [
        Bar(START, 500_001, 500_001, 499_900, 499_900, 30),
        Bar(START + 60_000, 499_900, 499_900, 499_900, 499_900, 0),
        Bar(START + 120_000, 500_100, 500_100, 500_100, 500_100, 5),
    ]


def history(tmp_path: Path, *rows: str) -> Path:
    """A folder of candles."""
    folder = tmp_path / "history"
    folder.mkdir()
    (folder / f"{BTC}.csv").write_text("\n".join(("start_ms,open,high,low,close,volume", *rows)) + "\n")
    return folder


def test_candles_before_the_first_tick_are_its_history(folder: Path, tmp_path: Path) -> None:
    five = 300_000
    candles = history(
        tmp_path,
        f"{START - 2 * five},49000,49100.5,48990,49050.2,1.5",
        f"{START - five},49050.2,50020,49050.2,50000,2",
        f"{START},50000,60000,40000,50000,9",
    )
    market = open_ticks(folder, history=candles)
    assert isinstance(market, TickMarket)
    assert (market.first_ms, market.ticks_from_ms) == (START - 2 * five, START // HOUR_MS * HOUR_MS)
    assert market.candles(BTC, "5", START - 2 * five, START) == [
        Bar(START - 2 * five, 490_000, 491_005, 489_900, 490_502, 1_500),
        Bar(START - five, 490_502, 500_200, 490_502, 500_000, 2_000),
    ]
    assert market.bars(BTC, START, START + 60_000) == [Bar(START, 500_001, 500_001, 499_900, 499_900, 30)]


def test_a_history_that_ends_long_before_the_ticks_is_refused(folder: Path, tmp_path: Path) -> None:
    candles = history(tmp_path, *(f"{START - 9_000_000 + n * 300_000},1,1,1,1,1" for n in range(3)))
    with pytest.raises(MarketError, match="ends 135 minutes before the ticks begin"):
        open_ticks(folder, history=candles)


def test_events_are_in_the_order_of_time_over_hours_and_a_joined_file_counts_once(folder: Path) -> None:
    write(folder, Kind.TRADES, trades((HOUR_MS + 5, "Buy", "50011", "1")))
    TickStore(folder).join(Kind.TRADES, BTC, START // HOUR_MS)
    market = open_ticks(folder)
    found = list(market.events(START + 1_000))
    assert [event.time_ms - START for event in found] == [1_000, 1_000, 130_000, 130_000, HOUR_MS + 5]
    assert found[0] == Print(BTC, START + 1_000, 499_900, 20, "Sell", "t1")
    assert found[1] == Shown(BTC, START + 1_000, 499_800, 500, 499_910, 500)
    assert [trade.trade_id for trade in market.trades_before(BTC, START + 130_000, 5)] == ["t1", "t0"]


def test_a_unit_that_does_not_fit_the_recorded_values_becomes_a_finer_one(tmp_path: Path) -> None:
    write(tmp_path, Kind.TRADES, trades((0, "Buy", "50000.125", "0.0005")))
    market = open_ticks(tmp_path)
    assert (market.instruments[BTC].tick_size, market.instruments[BTC].qty_step) == (D("0.001"), D("0.0001"))
    assert isinstance(market, TickMarket)
    assert next(market.events(START)) == Print(BTC, START, 50_000_125, 5, "Buy", "t0")


def test_a_taker_gets_the_quote_of_its_time_its_size_and_one_tick_worse_beyond(folder: Path) -> None:
    exchange, account = opened(folder)
    advance(exchange, 500)
    place(exchange, account, "Buy", "0.2")
    advance(exchange, 2_000)
    place(exchange, account, "Sell", "0.7")
    assert fills(exchange) == [
        (500, "Buy", D("50000.1"), D("0.2"), False),
        (2_000, "Sell", D("49980"), D("0.5"), False),
        (2_000, "Sell", D("49979.9"), D("0.2"), False),
    ]


def test_a_resting_order_fills_by_a_trade_through_it_or_a_quote_at_it_and_not_by_a_touch(tmp_path: Path) -> None:
    write(
        tmp_path,
        Kind.TRADES,
        trades(
            (0, "Buy", "50000", "1"),
            (1_000, "Sell", "49990", "1"),  # touches the bid at 49990, goes through the one at 49995
            (3_000, "Buy", "50020", "1"),  # goes through the offer at 50010
            (4_000, "Buy", "50000", "1"),
        ),
    )
    write(tmp_path, Kind.BBO, quotes((0, "49995", "50005"), (2_000, "49980", "49990"), (4_500, "50030", "50031")))
    exchange, account = opened(tmp_path)
    advance(exchange, 500)
    for side, price in (("Buy", "49990"), ("Buy", "49995"), ("Sell", "50010"), ("Sell", "50030")):
        place(exchange, account, side, "0.1", price)
    advance(exchange, 5_000)
    assert fills(exchange) == [
        (1_000, "Buy", D(49995), D("0.1"), True),
        (2_000, "Buy", D(49990), D("0.1"), True),
        (3_000, "Sell", D(50010), D("0.1"), True),
        (4_500, "Sell", D(50030), D("0.1"), True),
    ]


def test_an_offer_below_the_last_trade_fills_by_the_next_trade_above_it_even_when_that_is_a_fall(
    tmp_path: Path,
) -> None:
    write(
        tmp_path, Kind.TRADES, trades((0, "Buy", "50020", "1"), (1_000, "Buy", "50011", "1"), (2_000, "Sell", "1", "1"))
    )
    write(tmp_path, Kind.BBO, quotes((0, "50000", "50020")))
    exchange, account = opened(tmp_path)
    advance(exchange, 500)
    place(exchange, account, "Sell", "0.1", "50010")
    advance(exchange, 1_500)
    assert fills(exchange) == [(1_000, "Sell", D(50010), D("0.1"), True)]


def test_a_stop_fires_by_a_trade_and_fills_at_the_bid_then(tmp_path: Path) -> None:
    write(
        tmp_path,
        Kind.TRADES,
        trades((0, "Buy", "50000", "1"), (1_000, "Sell", "49950", "1"), (2_000, "Sell", "49890", "1")),
    )
    write(tmp_path, Kind.BBO, quotes((0, "49999.9", "50000"), (1_500, "49880", "49900")))
    exchange, account = opened(tmp_path)
    advance(exchange, 500)
    place(exchange, account, "Buy", "0.1")
    settings.set_trading_stop(exchange.engine, account, TradingStop(symbol=BTC, stop_loss=D(49900)))
    advance(exchange, 3_000)
    assert fills(exchange)[1:] == [(2_000, "Sell", D(49880), D("0.1"), False)]


def test_an_empty_side_fills_no_taker_and_is_shown_empty(tmp_path: Path) -> None:
    write(tmp_path, Kind.TRADES, trades((0, "Buy", "50000", "1"), (70_000, "Buy", "50000", "1")))
    write(tmp_path, Kind.BBO, quotes((0, "49999.9", None)))
    exchange, account = opened(tmp_path)
    advance(exchange, 500)
    order = place(exchange, account, "Buy", "0.1")
    assert (fills(exchange), order.status) == ([], "Cancelled")
    ticker = exchange.quotes.ticker(BTC)
    assert (ticker["bid1Price"], ticker["bid1Size"], ticker["ask1Price"]) == ("49999.9", "0.5", "")


def test_without_quotes_a_spread_is_made_around_the_trades(tmp_path: Path) -> None:
    write(tmp_path, Kind.TRADES, trades((0, "Buy", "50000", "1"), (70_000, "Buy", "50000", "1")))
    exchange, account = opened(tmp_path, spread=2)
    advance(exchange, 500)
    place(exchange, account, "Buy", "0.1")
    assert fills(exchange) == [(500, "Buy", D("50000.1"), D("0.1"), False)]


def test_minutes_form_and_close_as_in_the_recording_and_time_ends_with_it(folder: Path) -> None:
    exchange, _ = opened(folder)
    closed: list[Bar | None] = []
    exchange.timeline._on_open = lambda time_ms: closed.append(exchange.candles.closed(BTC, "1", time_ms))
    advance(exchange, 1_500)
    assert exchange.timeline.forming(BTC) == Bar(START, 500_001, 500_001, 499_900, 499_900, 30)
    advance(exchange, 10**9)
    assert exchange.timeline.ended
    assert closed == exchange.market.bars(BTC, START, START + 180_000)
    assert exchange.candles.page(BTC, "1", None, None, 10)[::-1] == closed


def test_gaps_are_counted_by_their_newest_row(folder: Path) -> None:
    gap = {"ts": START, "kind": "trades", "symbol": BTC, "until": None, "reason": "cut"}
    rows = [
        {**gap, "gap_id": "a", "state": "open", "received": START * 1000},
        {**gap, "gap_id": "a", "state": "filled", "received": START * 1000 + 1},
        {**gap, "gap_id": "b", "state": "open", "received": START * 1000},
        {**gap, "gap_id": "c", "state": "closed", "kind": "depth", "received": START * 1000},
    ]
    write(folder, Kind.GAPS, rows)
    assert open_ticks(folder).gaps() == {BTC: 1}


def test_a_replay_goes_on_where_it_was_stopped(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    setup = Setup(rules=Rules(through_ticks=1), start_ms=START, data=tmp_path_factory.mktemp("state") / "exchange.db")
    before = Exchange(open_ticks(folder), (), setup)
    before.engine.open_account(1, D(1_000_000))
    before.timeline.advance(START + 500)
    place(before, before.engine.accounts[1], "Buy", "0.1", "49991")
    before.close()
    after = Exchange(open_ticks(folder), (), setup)
    OPEN.append(after)
    after.timeline._on_point = lambda: None
    assert after.now_ms == START + 500
    assert after.timeline.forming(BTC) == Bar(START, 500_001, 500_001, 500_001, 500_001, 10)
    advance(after, 2_000)
    assert fills(after) == [(1_000, "Buy", D(49991), D("0.1"), True)]


def test_time_divided_otherwise_gives_the_same_fills(folder: Path) -> None:
    found = []
    for cuts in ((200_000,), range(500, 200_000, 777), ()):
        exchange, account = opened(folder)
        advance(exchange, 500)
        place(exchange, account, "Buy", "0.1", "49991")
        for ms in cuts:
            advance(exchange, ms)
        while not exchange.timeline.ended:
            exchange.timeline.step()
        found.append(fills(exchange))
    assert found[0] == found[1] == found[2] == [(1_000, "Buy", D(49991), D("0.1"), True)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--ticks /no/such/folder", "/no/such/folder is not a folder"),
        ("--ticks {empty}", "holds no recorded trades"),
        ("--ticks {folder} --symbols ETHUSDT", "has no trades of ETHUSDT: it has BTCUSDT"),
        ("--ticks {folder} --replay {folder}", "--ticks is a market of its own"),
        ("--ticks {folder} --awkward", "--awkward belongs to the generator"),
        ("--ticks {folder} --warmup 500", "outside the market's"),
        ("--ticks {broken}", "cannot be read"),
    ],
)
def test_a_wrong_choice_is_one_sentence(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, words: str, said: str
) -> None:
    empty, broken = tmp_path_factory.mktemp("empty"), tmp_path_factory.mktemp("broken")
    write(broken, Kind.TRADES, USUAL[0])
    for path in broken.rglob("*.parquet"):
        path.write_bytes(path.read_bytes()[:-40])
    (folder / "trades" / f"symbol={BTC}" / "notes.txt").write_text("foreign files are ignored")
    with pytest.raises((BadOption, MarketError), match=said):
        parse(words.format(folder=folder, empty=empty, broken=broken).split(), {})
