"""What a strategy sees beside its candles: as of the bar's end and its stated delay, and look-ahead in it is found."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alpha.errors import Misconfigured
from alpha.strategy.auxiliary import Auxiliary, Column, Rows, open_interest_step
from alpha.strategy.bars import Bars, FloatArray
from alpha.strategy.column_files import read_column
from backtester.lookahead import Finding, check
from backtester.market import MarketData
from research.data_pack import pack, unpack
from tests.support.toy_strategies import HOUR_MS, START_MS, Crossing, CrossingParameters, market, random_bars

MOOD = Column("mood", 3 * HOUR_MS)


class Moody(Crossing):
    """Crosses only where a column has a value; looks at another symbol."""

    @property
    def references(self) -> tuple[str, ...]:
        return ("REFUSDT",)

    @property
    def columns(self) -> tuple[Column, ...]:
        return (MOOD,)

    def indicators(self, bars: Bars) -> dict[str, FloatArray]:
        spread = bars.close / bars.reference("REFUSDT").close
        return {**super().indicators(bars), "mood": bars.column("mood"), "spread": spread}


class Hasty(Moody):
    """It joins the column on the time of its rows, as if there were no delay."""

    def indicators(self, bars: Bars) -> dict[str, FloatArray]:
        rows = bars.rows("mood")
        places = np.searchsorted(rows.time_ms, bars.start_ms + bars.interval_ms, side="right") - 1
        return {**super().indicators(bars), "mood": rows.values[np.maximum(places, 0)]}


class Early(Moody):
    """Its other symbol is one bar early."""

    def indicators(self, bars: Bars) -> dict[str, FloatArray]:
        found = super().indicators(bars)
        other = bars.reference("REFUSDT").close
        return {**found, "spread": bars.close / np.append(other[1:], other[-1:])}


def data() -> MarketData:
    bars = market(random_bars(3, 900), random_bars(4, 900, "REFUSDT"))
    times = START_MS + HOUR_MS * np.arange(-10, 900, dtype=np.int64)
    draw = np.random.default_rng(1)
    rows = {symbol: Rows(times, draw.normal(size=len(times))) for symbol in bars.bars}
    return replace(bars, columns={"mood": rows})


def found(kind: type[Crossing]) -> list[Finding]:
    return check(lambda: kind(CrossingParameters()), data(), bars=10, span=300)


def test_an_honest_strategy_is_not_accused() -> None:
    assert found(Moody) == []


def test_a_column_that_is_read_before_its_delay_is_found_by_its_indicator() -> None:
    findings = found(Hasty)
    assert any(one.what == "the indicator 'mood'" and "not known yet" in one.how for one in findings)
    assert not any("spread" in one.what for one in findings)


def test_a_peek_at_another_symbol_is_found() -> None:
    findings = found(Early)
    assert any(one.what == "the indicator 'spread'" and "other symbols" in one.how for one in findings)
    assert not any("mood" in one.what for one in findings)


def test_a_row_counts_from_its_delay_on_and_until_its_largest_age() -> None:
    rows = Rows(np.array([100, 200]), np.array([1.0, 2.0]))
    ends = np.array([109, 110, 209, 210, 260, 261])
    values = rows.at(Column("x", 10, max_age_ms=60), ends)
    np.testing.assert_array_equal(values, [np.nan, 1.0, np.nan, 2.0, 2.0, np.nan])
    later = replace(rows, complete_ms=210).at(Column("x", 10), ends)
    np.testing.assert_array_equal(later, [np.nan, 1.0, 1.0, 2.0, np.nan, np.nan])


def test_another_symbols_bars_stand_at_the_same_starts_on_every_timeframe() -> None:
    own = random_bars(1, 24)
    other = random_bars(2, 24, "REFUSDT")
    keep = np.arange(24) != 9
    holed = Bars(
        "REFUSDT",
        HOUR_MS,
        *(getattr(other, name)[keep] for name in ("start_ms", "open", "high", "low", "close", "volume")),
    )
    shown = replace(own, auxiliary=Auxiliary({"REFUSDT": holed}))
    seen = shown.reference("REFUSDT").close
    assert np.isnan(seen[9])
    np.testing.assert_array_equal(np.delete(seen, 9), np.delete(other.close, 9))
    starts = START_MS + 4 * HOUR_MS * np.arange(6, dtype=np.int64)
    longer = Bars("XUSDT", 4 * HOUR_MS, starts, *[np.ones(6)] * 5, auxiliary=shown.auxiliary)
    np.testing.assert_array_equal(longer.reference("REFUSDT").close, [*other.close[3:8:4], np.nan, *other.close[15::4]])
    with pytest.raises(KeyError):
        shown.reference("ETHUSDT")


def test_a_sweep_carries_the_columns() -> None:
    there = unpack(pack(data())).columns["mood"]["XUSDT"]
    np.testing.assert_array_equal(there.values, data().columns["mood"]["XUSDT"].values)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "has no mood.csv"),
        ("a,b\n1,2\n", "it needs time_ms (or time) and value"),
        ("time_ms,value\n1700000000,1\n", "must be milliseconds"),
        ("time_ms,value\n1700000000000,1\n1700000000000,2\n", "row 2: times must ascend"),
        ("time_ms,value\n1700000000000,x\n", "line 2"),
        ("time_ms,value\n1700000000000,inf\n", "a value must be a number"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_sentence(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "mood.csv").write_text(text)
    with pytest.raises(Misconfigured) as fault:
        read_column(tmp_path, Column("mood", 0, per_symbol=False), "BTCUSDT")
    assert said in str(fault.value)


def test_times_may_be_dates_and_a_missing_value_is_no_value(tmp_path: Path) -> None:
    (tmp_path / "mood.csv").write_text("time,value\n2025-01-01,1.5\n2025-01-02T03:00+01:00,\n")
    rows = read_column(tmp_path, Column("mood", 0, per_symbol=False), "BTCUSDT")
    assert rows.time_ms.tolist() == [1735689600000, 1735783200000]
    assert rows.values[0] == 1.5
    assert np.isnan(rows.values[1])


def test_open_interest_is_read_in_the_longest_step_that_fits() -> None:
    assert [open_interest_step(minutes * 60_000)[0] for minutes in (1, 5, 30, 120, 240, 1440)] == [
        "5min", "5min", "30min", "1h", "4h", "1d",
    ]  # fmt: skip
