"""The compiled walk makes the same result as the slow one, to the last bit, and says when it cannot."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpha.strategy.bars import Bars
from alpha.strategy.base import BarContext, Strategy, StrategyState
from alpha.strategy.frames import series_of
from alpha.strategy.intents import Intent
from alpha.strategy.risk_rules import Action, LossLimit, OpenProfitLimit, Rules, Until, Window
from backtester import kernel
from backtester.compiled import Span, Walk, unfit, walked
from backtester.engine import Run, run
from backtester.market import MarketData
from backtester.prepared import BacktestConfig
from backtester.rebuild import Differs, Rebuild
from backtester.result import Result
from backtester.venue import Costs
from strategies.momentum.parameters import MomentumParameters
from strategies.momentum.strategy import Momentum
from strategies.shortseller.parameters import ShortSellerParameters
from strategies.shortseller.strategy import ShortSeller
from tests.support.array_strategies import Arrayed, ArrayedParameters
from tests.support.toy_strategies import Crossing, CrossingParameters, changed, market, random_bars

D = Decimal
USUAL = Costs(D("0.00055"), D(2))


class Patient(Run):
    """The oracle: every bar is walked, every point is looked at."""

    def _is_calm(self, now_ms: int, worst: float, best: float) -> bool:
        return False

    def _endangers(self, worst: float, value: float) -> bool:
        return True


def compare(strategy: Strategy[Any, Any], data: MarketData, terms: BacktestConfig) -> tuple[Result, Walk | None]:
    """Both walks; the results must be equal in everything."""
    slow = Patient(strategy, data, terms).result()
    run = Run(strategy, data, terms)
    resume = -1 if terms.resume_after_ms is None else terms.resume_after_ms
    span = Span(run.first, run.end, terms.cash, terms.costs, resume)
    series = run.market.series
    walk = walked(strategy, data, series, span)
    if walk is None:
        return slow, None
    fast = Rebuild(strategy, data, series, span, walk).result()
    assert fast.trades == slow.trades
    assert fast.fills == slow.fills
    assert fast.limit_hits == slow.limit_hits
    assert fast.skipped == slow.skipped
    assert fast.open_at_end == slow.open_at_end
    assert fast.end_equity == slow.end_equity
    assert fast.equity.tobytes() == slow.equity.tobytes()
    assert fast.exposed.tobytes() == slow.exposed.tobytes()
    assert np.allclose(walk.equity, slow.equity, rtol=1e-12)
    return slow, walk


def whole_prices(bars: Bars) -> Bars:
    """The same bars on a tick of 1 USDT."""
    return changed(bars, {name: np.rint(getattr(bars, name)) for name in ("open", "high", "low", "close")})


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    count=st.integers(1, 4),
    short=st.booleans(),
    slots=st.sampled_from([None, 1, 2]),
    cooldown=st.sampled_from([0, 1, 5]),
    per_day=st.sampled_from([None, 1, 2]),
    exposure=st.sampled_from([None, "0.5", "1.5"]),
    levels=st.sampled_from(
        [("0.02", None, None), ("0.03", "0.05", None), ("0.05", "0.2", ("0.01", "0.02")), ("0.9", None, None)]
    ),
    raises=st.sampled_from([None, "0.03"]),
    fixed=st.booleans(),
    after=st.sampled_from([0, 3]),
    limit=st.sampled_from([None, 12]),
    slippage=st.sampled_from(["0", "2", "12.5"]),
    resume=st.sampled_from([None, 0, 3]),
    tight=st.booleans(),
    coarse=st.booleans(),
)
def test_random_rules_over_random_markets_come_out_the_same(
    seed: int,
    count: int,
    short: bool,
    slots: int | None,
    cooldown: int,
    per_day: int | None,
    exposure: str | None,
    levels: tuple[str, str | None, tuple[str, str] | None],
    raises: str | None,
    fixed: bool,
    after: int,
    limit: int | None,
    slippage: str,
    resume: int | None,
    tight: bool,
    coarse: bool,
) -> None:
    series = [random_bars(seed + number, 260 + 20 * number, f"X{number}USDT") for number in range(count)]
    series.append(random_bars(seed + 99, 120, "ENDSUSDT"))  # one whose candles end early
    if coarse:  # ticks so large that prices meet levels exactly
        series = [whole_prices(bars) for bars in series]
    data = market(*series, funding_rate=D("0.0003"))
    parameters = ArrayedParameters(
        symbols=tuple(bars.symbol for bars in series),
        short=short,
        stop=D(levels[0]),
        take_profit=None if levels[1] is None else D(levels[1]),
        trailing=None if levels[2] is None else (D(levels[2][0]), D(levels[2][1])),
        raises=None if raises is None else D(raises),
        usdt=D(1500) if fixed else None,
        after_bars=after,
        limit_bars=limit,
    )
    strategy = Arrayed(parameters)
    part = D("0.01") if tight else D("0.3")
    strategy.account = Rules(
        D(10),
        "high-first" if short else "low-first",
        cooldown_ms=cooldown * 3_600_000,
        entries_per_day=per_day,
        max_positions=slots,
        max_exposure=None if exposure is None else D(exposure),
        loss_limits=(
            LossLimit(Window.DAY, part, Action.NO_ENTRIES, Until.WINDOW_END),
            LossLimit(Window.WEEK, 2 * part, Action.HALF_SIZE, Until.WINDOW_END),
            LossLimit(Window.MONTH, 3 * part, Action.NO_ENTRIES, Until.RESUMED),
            LossLimit(Window.DRAWDOWN, 4 * part, Action.NO_ENTRIES, Until.RESUMED),
        ),
    )
    terms = BacktestConfig(
        data.first_ms + 7 * 3_600_000,
        data.end_ms,
        D(10_000),
        Costs(D("0.00055"), D(slippage)),
        None if resume is None else resume * 86_400_000,
    )
    compare(strategy, data, terms)


def test_the_random_markets_hold_every_kind_of_exit_and_refusal() -> None:
    kinds: set[str] = set()
    refusals: set[str] = set()
    for seed in range(12):
        bars = [random_bars(seed * 7 + number, 400, f"X{number}USDT") for number in range(3)]
        data = market(*bars, random_bars(seed + 99, 120, "ENDSUSDT"), funding_rate=D("0.0003"))
        strategy = Arrayed(
            ArrayedParameters(
                symbols=tuple(data.bars),
                stop=D("0.03"),
                take_profit=D("0.05"),
                trailing=(D("0.01"), D("0.02")) if seed % 2 else None,
                raises=None if seed % 2 else D("0.025"),
                limit_bars=20,
                after_bars=3,
            )
        )
        strategy.account = Rules(D(10), "low-first", cooldown_ms=7_200_000, entries_per_day=2, max_positions=2)
        slow, walk = compare(strategy, data, BacktestConfig(data.first_ms, data.end_ms, D(10_000), USUAL))
        assert walk is not None
        kinds |= {trade.reason.value for trade in slow.trades}
        refusals |= set(slow.skipped)
    assert kinds >= {"stop_loss", "take_profit", "trailing_stop", "signal", "time_limit", "settlement"}
    assert {"cooldown after the last exit", "2 entries today", "2 positions are open"} <= refusals


@pytest.mark.parametrize("resume_days", [None, 1])
def test_the_strategies_themselves(resume_days: int | None) -> None:
    resume = None if resume_days is None else resume_days * 86_400_000
    fives = market(
        *(
            random_bars(n, 6_000, s, volatility=0.003, interval_ms=300_000)
            for n, s in enumerate(("BTCUSDT", "ETHUSDT", "SOLUSDT"))
        ),
        funding_rate=D("0.0001"),
    )
    terms = BacktestConfig(fives.first_ms, fives.end_ms, D(10_000), USUAL, resume)
    slow, walk = compare(ShortSeller(ShortSellerParameters()), fives, terms)
    assert walk is not None
    assert len(slow.trades) > 20
    fours = market(
        *(
            random_bars(n, 3_000, s, interval_ms=14_400_000)
            for n, s in enumerate(("BTCUSDT", "AUSDT", "BUSDT", "CUSDT", "DUSDT"))
        ),
        funding_rate=D("0.0001"),
    )
    for filtered in (False, True):
        momentum = Momentum(MomentumParameters(symbols=tuple(fours.bars), btc_filter=filtered))
        terms = BacktestConfig(fours.first_ms, fours.end_ms, D(10_000), USUAL, resume)
        slow, walk = compare(momentum, fours, terms)
        assert walk is not None
        assert filtered or len(slow.trades) > 10


def test_what_the_kernel_does_not_know_is_walked_slowly() -> None:
    strategy = Arrayed(ArrayedParameters())
    strategy.account = Rules(D(10), "low-first", open_profit=OpenProfitLimit(D(5), D("0.5")))
    assert "open profit" in unfit(strategy, 3_600_000)
    data = market(random_bars(1, 200))
    plain = Crossing(CrossingParameters(stop=D("0.012345678912")))
    series = {"XUSDT": series_of(plain, data.bars["XUSDT"])}
    assert walked(plain, data, series, Span(0, 200, D(10_000), USUAL)) is None  # finer than a part of SCALE


def test_an_evaluate_that_was_written_over_is_what_counts() -> None:
    class Other(Crossing):
        def evaluate(self, moment: BarContext, state: StrategyState) -> list[Intent]:
            return []

    assert "written over" in unfit(Other(CrossingParameters()), 3_600_000)
    hooked = Crossing(CrossingParameters())
    assert unfit(hooked, 3_600_000) == ""
    hooked.evaluate = lambda *_: []  # type: ignore[method-assign]
    assert "written over" in unfit(hooked, 3_600_000)
    assert run(hooked, market(random_bars(1, 300)), BacktestConfig(0, 2**60, D(1_000), USUAL)).trades == []


def test_an_account_in_danger_is_walked_slowly() -> None:
    data = market(random_bars(3, 400, volatility=0.02))
    strategy = Arrayed(ArrayedParameters(stop=D("0.9"), fraction=D(9)))
    strategy.account = Rules(D(10), "low-first")
    series = {"XUSDT": series_of(strategy, data.bars["XUSDT"])}
    assert walked(strategy, data, series, Span(0, 400, D(10_000), USUAL)) is None


def test_a_decision_that_the_exact_numbers_do_not_make_is_found() -> None:
    data = market(random_bars(5, 400))
    strategy = Arrayed(ArrayedParameters())
    series = {"XUSDT": series_of(strategy, data.bars["XUSDT"])}
    span = Span(0, 400, D(10_000), USUAL)
    walk = walked(strategy, data, series, span)
    assert walk is not None
    first = int(np.flatnonzero(walk.events[:, 0] == kernel.OPENED)[0])
    walk.events[first, 5] += 1
    with pytest.raises(Differs):
        Rebuild(strategy, data, series, span, walk).result()
