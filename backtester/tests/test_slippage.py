"""Slippage by symbol: from a file, by the model, and the same in both walks."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from alpha.errors import Misconfigured
from alpha_cli.main import main
from backtester.candle_files import write_file
from backtester.engine import run
from backtester.prepared import BacktestConfig
from backtester.slippage import modelled, read_slippage
from backtester.venue import Costs
from tests.support.toy_strategies import Crossing, CrossingParameters, changed, market, random_bars

D = Decimal


def test_each_symbol_pays_its_own_in_both_walks() -> None:
    data = market(random_bars(1, 500, "AUSDT"), random_bars(1, 500, "BUSDT"))
    strategy = Crossing(CrossingParameters(symbols=("AUSDT", "BUSDT"), stop=D("0.9"), take_profit=None))
    costs = Costs(D(0), D(2), D(0), {"BUSDT": D(20)})
    terms = BacktestConfig(data.first_ms, data.end_ms, D(10_000), costs)
    slow, fast = run(strategy, data, terms, walk="slow"), run(strategy, data, terms, walk="compiled")
    assert slow.trades == fast.trades
    nets = {name: sum(t.net for t in slow.trades if t.symbol == name) for name in ("AUSDT", "BUSDT")}
    value = sum(t.entry_price * t.size + t.exit_price * t.size for t in slow.trades if t.symbol == "BUSDT")
    assert float(nets["AUSDT"] - nets["BUSDT"]) == pytest.approx(float(value) * 0.0018, rel=0.05)


def test_the_model_is_the_square_root_law() -> None:
    bars = random_bars(1, 24 * 60)
    day = (bars.volume * bars.close).reshape(-1, 24).sum(axis=1)
    returns = np.diff(np.log(bars.close), prepend=np.log(bars.open[0])).reshape(-1, 24)
    expected = 1 + np.median(np.sqrt((returns**2).sum(axis=1))) * 10_000 * np.sqrt(10_000 / np.median(day))
    assert float(modelled({"XUSDT": bars}, D(10_000))["XUSDT"]) == pytest.approx(expected, abs=0.006)
    busier = changed(bars, {"volume": bars.volume * 100})
    one, other = (float(modelled({"X": b}, D(10_000))["X"]) - 1 for b in (bars, busier))
    assert one == pytest.approx(10 * other, rel=0.02)
    assert modelled({"X": changed(bars, {"volume": bars.volume * 0})}, D(1))["X"] == 500


def test_the_command_takes_a_file_or_the_word_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    write_file(tmp_path / "data" / "XUSDT.parquet", random_bars(11, 600))
    (tmp_path / "slippage.csv").write_text("symbol,bps,orders\nXUSDT,12.5,8\nYUSDT,-3,1\n")
    words = ["backtest", "tests.support.toy_strategies:Crossing", "--data", str(tmp_path / "data"), "--slippage-bps"]
    assert main([*words, str(tmp_path / "slippage.csv")]) == 0
    assert "XUSDT 12.50" in capsys.readouterr().out
    assert main([*words, "model"]) == 0
    assert main([*words, "some"]) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("coin,bps\nX,1\n", "needs the columns"),
        ("symbol,bps\nX,much\n", "line 2"),
        ("symbol,bps\n", "no symbol"),
        ("symbol,bps\nX,900\n", "at most"),
        ("symbol,bps\nX,1e999999999\n", "at most"),
    ],
)
def test_a_file_that_is_none_is_said_in_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(Misconfigured, match=said):
        read_slippage(tmp_path / "s.csv")
