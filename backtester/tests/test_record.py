"""A result as data: the function, its frames, result.json and Parquet say the same as the result."""

import json
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

import backtester
from alpha.errors import Misconfigured
from alpha_cli.main import main
from backtester import Settings
from backtester.candle_files import write_file
from backtester.candles import COLUMNS, column
from backtester.frames import equity_frame, limits_frame, orders_frame, refusals_frame, trades_frame
from backtester.record import code_fingerprint
from tests.support.toy_strategies import Crossing, CrossingParameters, random_bars

TOY = "tests.support.toy_strategies:Crossing"


def test_a_folder_a_frame_and_bars_give_the_same_result(tmp_path: Path) -> None:
    bars = random_bars(11, 600)
    write_file(tmp_path / "XUSDT.parquet", bars)
    frame = pl.DataFrame({"start_ms": bars.start_ms, **{name: column(bars, name) for name in COLUMNS}})
    strategy = Crossing(CrossingParameters())
    results = [backtester.run(strategy, given) for given in (tmp_path, {"XUSDT": frame}, {"XUSDT": bars})]
    assert len(results[0].trades) > 5
    assert results[0].trades == results[1].trades == results[2].trades


def test_frames_say_what_the_result_says() -> None:
    result = backtester.run(
        Crossing(CrossingParameters()), {"XUSDT": random_bars(11, 600)}, Settings(cash=Decimal(500))
    )
    trades = trades_frame(result)
    assert trades["net"].sum() == sum(trade.net for trade in result.trades)
    assert trades["symbol"].to_list() == [trade.symbol for trade in result.trades]
    assert equity_frame(result)["equity"].to_list() == result.equity.tolist()
    assert orders_frame(result).height == len(result.fills) == 2 * len(result.trades) + len(result.open_at_end)
    assert dict(refusals_frame(result).rows()) == result.skipped
    assert limits_frame(result).height == len(result.limit_hits)


@pytest.mark.parametrize(
    ("candles", "said"),
    [
        ({}, "No candles"),
        ({"X": pl.DataFrame({"open": [1.0]})}, "The candles of X"),
        ("no-such-folder", "no-such-folder"),
    ],
)
def test_what_are_no_candles_is_said_in_a_sentence(candles: object, said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        backtester.run(Crossing(CrossingParameters()), candles)  # type: ignore[arg-type]


def test_the_report_writes_every_figure_for_programs(tmp_path: Path) -> None:
    write_file(tmp_path / "XUSDT.parquet", random_bars(11, 600))
    out = tmp_path / "out"
    assert main(["backtest", TOY, "--data", str(tmp_path), "--report", str(out)]) == 0
    record = json.loads((out / "result.json").read_text())
    trades = pl.read_parquet(out / "trades.parquet")
    assert record["figures"]["trades"] == trades.height == record["confidence"]["trades"]
    assert Decimal(record["figures"]["net"]) == trades["net"].sum()
    assert set(record["fingerprints"]) == {"data", "code"}
    assert record["fingerprints"]["code"] == code_fingerprint("tests.support.toy_strategies")
    assert record["versions"]["numpy"]
    assert pl.read_parquet(out / "equity.parquet").height == 600
    assert "How far to believe it" in (out / "report.html").read_text()


def test_the_fingerprint_of_the_code_changes_with_the_code(tmp_path: Path) -> None:
    for folder in ("alpha/strategy", "strategies/one"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.py").write_text("x = 1\n")
    before = code_fingerprint("strategies.one.a", tmp_path)
    (tmp_path / "strategies/one/a.py").write_text("x = 2\n")
    assert code_fingerprint("strategies.one.a", tmp_path) != before
