"""The back-tester: the strategies that trade live, over historical candles.

`backtester.run(strategy, candles, Settings(...))` gives a `Result`; `backtester.frames` turns it into polars frames.

| module | holds |
|---|---|
| api.py | `run` and its settings |
| candles.py, candle_files.py | candles: checked, named by a fingerprint, read from and written to a folder |
| funding.py, instruments.py | what else is known of a market: funding rates, the exchange's filters |
| market.py | all of it together, and which symbols belonged to it when |
| position.py, venue.py, resting.py | the exchange as a back-test needs it: money, positions, levels, what a price does to them |
| columns.py, minutes.py | what lies beside the candles: columns that a strategy looks at, minutes inside larger bars |
| prepared.py | the data as one strategy sees them: bars tested, series, possible entries |
| engine.py, equity.py, result.py | the bars through the decision core; the account at every close; the outcome |
| metrics.py, confidence.py, regimes.py, description.py | figures of a result, how far to believe them, and what produced it |
| frames.py, record.py | the result as frames, JSON and Parquet |
| terminal.py, charts.py, page.py, report.py | the report |
| command.py | `alpha backtest` |
| download.py, download_command.py | `alpha data download` |
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backtester.api import Settings, run
    from backtester.result import Result, Trade
    from backtester.venue import Costs

__all__ = ["Costs", "Result", "Settings", "Trade", "run"]
_HOMES = {
    "run": "backtester.api",
    "Settings": "backtester.api",
    "Result": "backtester.result",
    "Trade": "backtester.result",
    "Costs": "backtester.venue",
}


def __getattr__(name: str) -> Any:
    """Loaded when first asked for: a command that needs one module does not pay for all."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
