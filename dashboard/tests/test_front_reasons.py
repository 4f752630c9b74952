"""The first page over years counts exit reasons over the newest days alone, and says so."""

from datetime import UTC, datetime, timedelta

from dashboard.front import _newest
from operations.periods import Period

END = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_long_period_is_cut_and_named_by_what_is_left() -> None:
    years = Period(END - timedelta(days=730), END, "all")
    assert _newest(years, 100) == Period(END - timedelta(days=100), END, "the last 100 days")


def test_a_short_period_keeps_its_name() -> None:
    short = Period(END - timedelta(days=100), END, "90d")
    assert _newest(short, 100) is short
