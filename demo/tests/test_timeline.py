from datetime import UTC, datetime
from decimal import Decimal

import pytest
from rich.console import Console

from alpha.live_state.events import Event, EventType
from demo.timeline import Kind, Line, TimelineWriter
from demo.view import Scene, picture
from operations.positions import BalanceRow
from operations.status import BotState, BotStatus, Status

BOT = "shortseller_001"
BAR_MS = 1_745_236_200_000


def event(kind: EventType, ts_ms: int, **data: object) -> Event:
    return Event(f"{ts_ms}-0", kind, ts_ms, {"symbol": "SOLUSDT", **data})


def candle(ts_ms: int, close: str) -> Event:
    return event(EventType.CANDLE, ts_ms, close=close, interval="5")


def order(ts_ms: int, side: str, order_id: str) -> Event:
    return event(
        EventType.ORDER,
        ts_ms,
        orderId=order_id,
        orderStatus="Filled",
        stopOrderType="",
        side=side,
        qty="50",
        orderType="Market",
        createdTime=str(ts_ms),
    )


def fill(ts_ms: int, exec_id: str, side: str, price: str, fee: str, pnl: str, kind: str = "Trade") -> Event:
    return event(
        EventType.FILL,
        ts_ms,
        exec_id=exec_id,
        exec_type=kind,
        side=side,
        qty="50",
        price=price,
        fee=fee,
        exec_pnl=pnl,
        reason="entry" if pnl == "0" else "regime_change",
    )


def position(ts_ms: int, side: str, size: str, stop: str = "") -> Event:
    return event(EventType.POSITION, ts_ms, side=side, size=size, entry_price="139", stop_loss=stop, take_profit="")


def test_one_trade_is_told_in_the_order_of_the_market_however_its_parts_arrive() -> None:
    story = TimelineWriter()
    story.hear(BOT, [candle(BAR_MS, "138.4"), candle(BAR_MS + 300_000, "137.9")])
    story.hear(BOT, [position(BAR_MS + 900, "Sell", "50"), fill(BAR_MS + 900, "e1", "Sell", "139", "3.8", "0")])
    story.hear(BOT, [order(BAR_MS + 900, "Sell", "o1"), position(BAR_MS + 950, "Sell", "50", "141")])
    story.overhear(
        BOT,
        {"event": "entered", "symbol": "SOLUSDT", "side": "Sell", "why": "closed at 138.4.", "time_ms": BAR_MS + 900},
    )
    assert [line.kind for line in story.lines] == [
        Kind.CANDLE,
        Kind.SIGNAL,
        Kind.ORDER,
        Kind.FILL,
        Kind.POSITION,
        Kind.STOP,
    ]
    assert story.lines[0].text == "SOLUSDT  closed at 138.4"
    assert story.lines[0].moment.timestamp() * 1000 == BAR_MS


def test_a_closed_position_shows_its_result_after_fees_and_funding() -> None:
    story = TimelineWriter()
    story.hear(BOT, [position(1, "", "0"), fill(2, "e1", "Sell", "139", "3.8", "0"), position(2, "Sell", "50")])
    story.hear(BOT, [fill(3, "f1", "Sell", "139", "-0.7", "0", kind="Funding")])
    told = story.hear(BOT, [fill(4, "e2", "Buy", "138", "3.7", "50"), position(4, "", "0")])
    assert told[-1].kind is Kind.CLOSED
    assert told[-1].gain == Decimal("50") - Decimal("3.8") - Decimal("3.7") + Decimal("0.7")


def test_a_position_from_before_has_no_result_that_could_be_shown() -> None:
    story = TimelineWriter()
    told = story.hear(BOT, [position(1, "Sell", "50"), fill(4, "e2", "Buy", "138", "3.7", "50"), position(4, "", "0")])
    assert told[-1].kind is Kind.CLOSED
    assert told[-1].gain is None


def test_an_event_that_comes_twice_is_told_once() -> None:
    story = TimelineWriter()
    twice = [order(1, "Sell", "o1"), fill(2, "e1", "Sell", "139", "3.8", "0"), position(2, "Sell", "50")]
    assert len(story.hear(BOT, twice)) == 3
    assert story.hear(BOT, twice) == []
    assert story.fills == 1


def test_a_candle_that_the_bot_did_not_speak_of_is_not_shown_as_its_reason() -> None:
    story = TimelineWriter()
    story.hear(BOT, [candle(BAR_MS, "138.4")])
    said = {"event": "entered", "symbol": "SOLUSDT", "side": "Buy", "why": "score 2.1", "time_ms": BAR_MS}
    assert [line.kind for line in story.overhear(BOT, said)] == [Kind.SIGNAL]


def scene(*, unrealised: Decimal | None) -> Scene:
    moment = datetime(2025, 4, 21, 12, tzinfo=UTC)
    bots = [
        BotStatus(name, BotState.RUNNING, "synced", 1.0, "running", "Waits.", [], pnl, Decimal(1), 1)
        for name, pnl in ((BOT, Decimal("-2.50")), ("lxalgo_001", unrealised))
    ]
    lines = [Line(moment, BOT, Kind.FILL, "SOLUSDT  Sell 50 at 139", "e1", None)]
    return Scene(
        status=Status(bots, [], [], [], moment, moment),
        balances=[
            BalanceRow(name, Decimal(10_000), Decimal(10_000), None, Decimal(0), moment, True) for name in (BOT,)
        ],
        lines=lines,
        recorded=frozenset({"e1"}),
        exchange_fills=1,
        recorded_fills=1,
        candles=4,
        speed=2_000,
        elapsed_s=0,
        seconds=60,
        chosen=1,
        keys=[("q", "quit")],
        answer="",
        hint="",
    )


def drawn(shown: Scene, width: int = 120, height: int = 30) -> str:
    console = Console(width=width, height=height)
    with console.capture() as captured:
        console.print(picture(shown, height, width))
    return captured.get()


def test_the_view_fits_the_screen_and_names_what_it_knows() -> None:
    text = drawn(scene(unrealised=Decimal("1.00")))
    assert len(text.splitlines()) <= 30
    assert "PostgreSQL" in text
    assert "> 2 lxalgo_001" in text
    assert "-1.50" in text


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (200, 60)])
def test_every_terminal_has_room_for_every_row(width: int, height: int) -> None:
    text = drawn(scene(unrealised=Decimal("1.00")), width, height)
    assert len(text.splitlines()) <= height
    assert max(map(len, text.splitlines())) <= width
    for word in ("0 of 60 s", "shortseller", "today net", "quit"):
        assert word in text
    assert "Waits." in text


def test_a_total_with_an_unknown_part_is_not_shown() -> None:
    text = next(line for line in drawn(scene(unrealised=None)).splitlines() if " all " in line)
    assert "-2.50" not in text
    assert text.split()[1:3] == ["-", "-"]
