"""Symbols that begin and end at different times, and a back-test over a part of the data."""

from decimal import Decimal

import pytest

from alpha.errors import Misconfigured
from alpha.model.reason import Reason
from alpha.strategy.bars import Bars
from backtester.candles import between, end_ms
from backtester.result import Trade
from tests.support.toy_strategies import (
    HOUR_MS,
    START_MS,
    Crossing,
    CrossingParameters,
    backtest_of,
    market,
    random_bars,
)

SYMBOLS = ("AUSDT", "BUSDT", "CUSDT")


def crossing(*symbols: str) -> Crossing:
    return Crossing(CrossingParameters(symbols=symbols, usdt=Decimal(500)))


def staggered(seed: int) -> list[Bars]:
    """Three symbols: one over all of the time, one that is listed later, one that ends early."""
    series = [random_bars(seed + place, 400, symbol) for place, symbol in enumerate(SYMBOLS)]
    late, early = START_MS + 150 * HOUR_MS, START_MS + 250 * HOUR_MS
    return [series[0], between(series[1], late, START_MS + 400 * HOUR_MS), between(series[2], START_MS, early)]


@pytest.mark.parametrize("seed", [10, 20, 30])
def test_a_symbol_trades_as_if_it_were_alone_whenever_the_others_begin_and_end(seed: int) -> None:
    series = staggered(seed)
    together = backtest_of(crossing(*SYMBOLS), market(*series))
    for bars in series:
        alone = backtest_of(crossing(bars.symbol), market(bars))
        assert alone.trades
        # Alone, the data end with the symbol; beside others, what it holds then is settled.
        ended = [trade for trade in together.trades if trade.reason is Reason.SETTLEMENT]
        if bars.symbol == "CUSDT":
            assert [trade.entry_ms for trade in ended] == [held.entry_ms for held in alone.open_at_end]
        rest = [trade for trade in together.trades if trade.symbol == bars.symbol and trade not in ended]
        assert alone.trades == rest


def test_a_position_in_a_symbol_that_ends_is_settled_at_its_last_price() -> None:
    for seed in range(40):
        bars = random_bars(seed, 400, "AUSDT")
        gone = between(random_bars(seed + 100, 400, "BUSDT"), START_MS, START_MS + 200 * HOUR_MS)
        result = backtest_of(crossing("AUSDT", "BUSDT"), market(bars, gone))
        assert not [held for held in result.open_at_end if held.symbol == "BUSDT"]
        settled = [trade for trade in result.trades if trade.reason is Reason.SETTLEMENT]
        if settled:
            assert float(settled[0].exit_price) == gone.close[-1]
            assert settled[0].exit_ms == end_ms(gone)
            assert result.equity[-1] == pytest.approx(float(result.end_equity), abs=1e-6)
            return
    raise AssertionError("no seed leaves a position in the symbol that ends")


def trades_from(bars: Bars, from_bar: int, to_bar: int) -> list[Trade]:
    result = backtest_of(
        crossing(bars.symbol),
        market(bars),
        from_ms=START_MS + from_bar * HOUR_MS,
        to_ms=START_MS + to_bar * HOUR_MS,
    )
    assert (result.from_ms, result.to_ms) == (START_MS + from_bar * HOUR_MS, START_MS + to_bar * HOUR_MS)
    assert len(result.equity) == to_bar - from_bar
    return result.trades


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_part_of_the_time_has_the_trades_of_that_part(seed: int) -> None:
    bars = random_bars(seed, 600)
    whole = trades_from(bars, 0, 600)
    flat_at = max(trade.exit_ms for trade in whole[: len(whole) // 2])
    from_bar = (flat_at - START_MS) // HOUR_MS + 1
    part = trades_from(bars, from_bar, 550)
    expected = [
        trade
        for trade in whole
        if trade.entry_ms > START_MS + from_bar * HOUR_MS and trade.exit_ms < START_MS + 550 * HOUR_MS
    ]
    assert expected
    assert part == expected


def test_bars_before_the_first_one_traded_warm_up_and_are_not_traded() -> None:
    bars = random_bars(1, 600)
    wanted = trades_from(bars, 0, 600)[5]
    from_bar = (wanted.entry_ms - START_MS) // HOUR_MS - 5
    warm = trades_from(bars, from_bar, 600)
    cold = backtest_of(
        crossing(bars.symbol), market(between(bars, START_MS + from_bar * HOUR_MS, START_MS + 600 * HOUR_MS))
    ).trades
    assert warm[0] == wanted
    assert cold
    assert wanted not in cold


def test_a_range_without_bars_is_refused() -> None:
    with pytest.raises(Misconfigured, match="nothing to test between 2024-02-01"):
        backtest_of(crossing("AUSDT"), market(random_bars(1, 50, "AUSDT")), from_ms=START_MS + 31 * 24 * HOUR_MS)
