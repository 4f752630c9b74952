"""Trading hours of stocks, forex and commodities."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from alpha.model.trading_session import closed_text, has_sessions, is_open, next_open_ms, silence_is_a_fault
from exchange_simulator.market import sessions
from tests.support.strategy_samples import instrument


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("kind", "region", "moment", "opened"),
    [
        ("stock", "US", "2026-11-30 14:29", False),  # Monday, 9:29 in New York
        ("stock", "US", "2026-11-30 14:30", True),
        ("stock", "US", "2026-11-30 21:00", False),
        ("stock", "US", "2026-07-27 13:30", True),  # summer time
        ("stock", "US", "2026-11-28 15:00", False),  # Saturday
        ("stock", "HK", "2026-11-30 04:30", False),  # the lunch break
        ("stock", "CN", "2026-11-30 05:00", True),
        ("stock", "KR", "2026-11-30 06:30", False),
        ("forex", "", "2026-11-29 22:00", True),  # Sunday, 17:00 in New York
        ("forex", "", "2026-11-27 22:00", False),
        ("commodity", "", "2026-11-30 22:30", False),  # the daily pause
        ("commodity", "", "2026-11-30 23:00", True),
        ("", "", "2026-11-28 15:00", True),
        ("innovation", "", "2026-11-28 15:00", True),
        ("stock", "MARS", "2026-11-28 15:00", True),  # hours that are not known keep nothing back
    ],
)
def test_regular_hours(kind: str, region: str, moment: str, opened: bool) -> None:
    assert is_open(kind, region, ms(moment)) is opened


def test_a_closed_session_is_a_sentence_with_its_end() -> None:
    stock = msgspec.structs.replace(instrument("AAPLUSDT"), symbol_type="stock", market_region="US")
    assert has_sessions(stock)
    assert closed_text(stock, ms("2026-11-28 15:00")) == (
        "AAPLUSDT: the US stock market is closed until Mon 30 Nov 2026 14:30 UTC."
    )
    assert closed_text(stock, ms("2026-11-30 15:00")) is None
    assert not has_sessions(instrument("BTCUSDT"))
    gold = msgspec.structs.replace(stock, symbol="XAUUSDT", symbol_type="commodity", market_region="")
    assert closed_text(gold, ms("2026-11-28 15:00")) == (
        "XAUUSDT: the commodity market is closed until Sun 29 Nov 2026 23:00 UTC."
    )
    assert next_open_ms("stock", "MARS", 0) is None


def test_silence_means_a_fault_only_where_something_trades_always() -> None:
    assert silence_is_a_fault({"AAPLUSDT", "BTCUSDT"}, {"AAPLUSDT"})
    assert not silence_is_a_fault({"AAPLUSDT", "XAUUSDT"}, {"AAPLUSDT", "XAUUSDT"})
    assert not silence_is_a_fault(set(), {"AAPLUSDT"})


def test_the_simulated_exchange_has_the_same_hours() -> None:
    moment = datetime(2026, 10, 19, tzinfo=UTC)  # three weeks with both changes of clocks
    while moment < datetime(2026, 11, 9, tzinfo=UTC):
        at_ms = int(moment.timestamp() * 1000)
        for symbol, row in sessions.UNDERLYINGS.items():
            assert is_open(row.symbol_type, row.region, at_ms) is sessions.is_open(symbol, at_ms), (symbol, moment)
        moment += timedelta(minutes=15)
