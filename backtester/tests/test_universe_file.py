"""`universe.csv`: a past day's universe holds what was listed then, coins that are gone included."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from alpha.errors import Misconfigured
from alpha.strategy.bars import Bars
from alpha_cli.main import main
from backtester.candle_files import write_file
from backtester.universe_file import read_universe
from exchange_simulator.candle_files import candle_files
from exchange_simulator.market.replay import open_folder
from tests.support.toy_strategies import random_bars

TOY = "tests.support.toy_strategies:Crossing"


def test_a_delisted_coin_is_traded_until_it_goes_and_one_not_named_never(tmp_path: Path) -> None:
    for number, symbol in enumerate(("AUSDT", "GONEUSDT", "OTHERUSDT")):
        write_file(tmp_path / f"{symbol}.parquet", random_bars(number, 600, symbol))
    (tmp_path / "universe.csv").write_text("symbol,from,to\nAUSDT,2024-01-10,\nGONEUSDT,,2024-01-15\n")
    out = tmp_path / "out"
    assert main(["backtest", TOY, "--data", str(tmp_path), "--symbols", "all", "--report", str(out)]) == 0
    trades = pl.read_parquet(out / "trades.parquet")
    assert set(trades["symbol"]) == {"AUSDT", "GONEUSDT"}
    days = trades.group_by("symbol").agg(
        pl.col("entry_time").min().alias("first"), pl.col("exit_time").max().alias("last")
    )
    rows = {row["symbol"]: row for row in days.iter_rows(named=True)}
    assert f"{rows['AUSDT']['first']:%Y-%m-%d}" >= "2024-01-10"
    assert f"{rows['GONEUSDT']['last']:%Y-%m-%d}" <= "2024-01-15"
    assert json.loads((out / "result.json").read_text())["symbols"] == ["AUSDT", "GONEUSDT"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("coin,from,to\nA,,\n", "needs the columns"),
        ("symbol,from,to\n,,\n", "line 2: it names no symbol"),
        ("symbol,from,to\nA,soon,\n", "no date"),
        ("symbol,from,to\nA,2024-02-01,2024-01-01\n", "is not before"),
        ("symbol,from,to\nA,,\nA,,\n", "is there 2 times"),
    ],
)
def test_a_universe_that_is_none_is_said_in_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "universe.csv").write_text(text)
    with pytest.raises(Misconfigured, match=said):
        read_universe(tmp_path)


@pytest.mark.parametrize("symbols", ["AUSDT", "all"])
def test_a_universe_without_the_tested_coins_is_named_as_the_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], symbols: str
) -> None:
    write_file(tmp_path / "AUSDT.parquet", random_bars(1, 600, "AUSDT"))
    (tmp_path / "universe.csv").write_text("symbol,from,to\nBUSDT,,\n")
    assert main(["backtest", TOY, "--data", str(tmp_path), "--symbols", symbols]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'universe.csv'} " in said
    assert "none of the" in said
    assert "range" not in said


def test_the_check_of_data_and_the_simulator_do_not_take_the_universe_for_a_coin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_file(tmp_path / "AUSDT.parquet", random_bars(1, 600, "AUSDT"))
    (tmp_path / "Universe.csv").write_text("symbol,from,to\nAUSDT,,\n")
    assert main(["data", "check", str(tmp_path)]) == 0
    assert "1 symbols" in capsys.readouterr().out
    assert list(open_folder(tmp_path).instruments) == ["AUSDT"]


def test_a_symbol_with_a_hole_is_tested_over_its_longest_part_and_what_was_left_out_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_file(tmp_path / "AUSDT.parquet", random_bars(1, 600, "AUSDT"))
    bars = random_bars(2, 600, "BUSDT")
    keep = np.ones(600, dtype=np.bool_)
    keep[100:104] = False
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    holed = Bars("BUSDT", bars.interval_ms, bars.start_ms[keep], *(column[keep] for column in columns))
    write_file(tmp_path / "BUSDT.parquet", holed)
    words = ["backtest", TOY, "--data", str(tmp_path), "--symbols", "all"]
    assert main(words) == 2
    assert main([*words, "--holes", "longest", "--report", str(tmp_path / "out")]) == 0
    assert "BUSDT: 100 candles outside of 2024-01-05 08:00" in " ".join(capsys.readouterr().out.split())
    trades = pl.read_parquet(tmp_path / "out" / "trades.parquet").filter(pl.col("symbol") == "BUSDT")
    assert str(trades["entry_time"].min()) >= "2024-01-05"
    assert main([*words, "--holes", "fill"]) == 2


def test_what_lies_beside_the_candles_is_no_coin(tmp_path: Path) -> None:
    write_file(tmp_path / "AUSDT.parquet", random_bars(1, 600, "AUSDT"))
    (tmp_path / "universe.csv").write_text("symbol,from,to\nAUSDT,,\n")
    (tmp_path / "slippage.csv").write_text("symbol,bps,orders\nAUSDT,1.5,3\n")
    assert list(candle_files(tmp_path)) == ["AUSDT"]
