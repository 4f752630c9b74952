"""The strategy of docs/guides/BOT_INTEGRATION_GUIDE.md, as it is printed there: back-tested, and without look-ahead."""

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from alpha.model.reason import Reason
from alpha.strategy.bars import Bars
from alpha.strategy.base import Strategy
from backtester.lookahead import check
from backtester.market import MarketData
from tests.support.toy_strategies import START_MS, backtest_of, market

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "BOT_INTEGRATION_GUIDE.md"
PACKAGE = "strategies.channel"
MS = 300_000


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The printed modules, importable under the names that the guide gives them."""
    text = GUIDE.read_text(encoding="utf-8")
    monkeypatch.setitem(sys.modules, PACKAGE, ModuleType(PACKAGE))
    for name in ("parameters", "strategy"):
        found = re.search(rf"`strategies/channel/{name}\.py`:\n\n```python\n(.*?)```", text, re.DOTALL)
        assert found, name
        module = ModuleType(f"{PACKAGE}.{name}")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(found[1], f"{name}.py", "exec"), module.__dict__)
    return sys.modules[f"{PACKAGE}.strategy"]


def make(channel: ModuleType) -> Strategy[Any, Any]:
    """With a short channel, so that a few weeks have trades of every kind."""
    parameters = sys.modules[f"{PACKAGE}.parameters"].ChannelParameters
    made: Strategy[Any, Any] = channel.Channel(parameters(symbols=("XUSDT",), channel=24))
    return made


def data(days: int) -> MarketData:
    """A market that swings for days, with noise."""
    count = days * 288
    rng = np.random.default_rng(8)
    swing = np.sin(np.arange(count) / 700) * 0.05
    close = np.round(100 * np.exp(swing + np.cumsum(rng.normal(0, 0.0012, count))), 2)
    opened = np.concatenate(([100.0], close[:-1]))
    high = np.round(np.maximum(opened, close) + rng.random(count) * 0.08, 2)
    low = np.round(np.minimum(opened, close) - rng.random(count) * 0.08, 2)
    starts = START_MS + MS * np.arange(count, dtype=np.int64)
    return market(Bars("XUSDT", MS, starts, opened, high, low, close, np.full(count, 10.0)))


def test_the_printed_strategy_trades_with_limits_targets_and_stops(channel: ModuleType) -> None:
    result = backtest_of(make(channel), data(40))
    reasons = {trade.reason for trade in result.trades}
    assert len(result.trades) > 20
    assert {Reason.TAKE_PROFIT, Reason.STOP_LOSS} <= reasons


def test_nothing_in_it_changes_with_what_comes_later(channel: ModuleType) -> None:
    assert check(lambda: make(channel), data(20), bars=5, span=800) == []
