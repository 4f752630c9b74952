"""The command, from words to exit code, and the report it writes."""

import csv
import json
import re
from decimal import Decimal
from pathlib import Path

import pytest

from alpha_cli.main import main
from backtester.candle_files import write_file
from tests.support.toy_strategies import random_bars

TOY = "tests.support.toy_strategies:Crossing"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_file(tmp_path / "XUSDT.parquet", random_bars(11, 600))
    return tmp_path


def test_the_report_is_one_page_that_needs_nothing_else(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "report"
    assert main(["backtest", TOY, "--data", str(folder), "--set", "usdt=2000", "--report", str(out)]) == 0
    page = (out / "report.html").read_text()
    assert not re.search(r"""(src|href)\s*=|@import|url\(""", page)
    settings = json.loads((out / "settings.json").read_text())
    assert settings["fingerprint_of_the_data"] in page
    assert settings["parameters"]["usdt"] == "2000"
    assert settings["changed"] == ["usdt"]
    with (out / "trades.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 5
    assert page.count("<circle") == len(rows)
    net = sum(Decimal(row["gross"]) - Decimal(row["fees"]) + Decimal(row["funding"]) for row in rows)
    assert net == sum(Decimal(row["net"]) for row in rows)
    assert f"{net:+,.2f}" in capsys.readouterr().out


def test_the_command_in_the_report_repeats_it_to_the_last_trade(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [
        "backtest",
        TOY,
        "--data",
        str(folder),
        "--from",
        "2024-01-05",
        "--to",
        "2024-01-20T07:00",
        "--cash",
        "5000",
    ]
    assert main([*words, "--slippage-bps", "3", "--report", str(folder / "first")]) == 0
    command: str = json.loads((folder / "first" / "settings.json").read_text())["command"]
    monkeypatch.chdir(folder.parent)
    assert main([*command.split()[1:], "--report", str(folder / "second")]) == 0
    assert (folder / "first" / "trades.csv").read_text() == (folder / "second" / "trades.csv").read_text()


def test_no_costs_means_no_fee_no_slippage_and_no_funding(folder: Path) -> None:
    assert main(["backtest", TOY, "--data", str(folder), "--no-costs", "--report", str(folder / "report")]) == 0
    with (folder / "report" / "trades.csv").open(newline="") as file:
        assert {(row["fees"], row["funding"]) for row in csv.DictReader(file)} == {("0", "0")}


def test_a_back_test_without_a_trade_still_reports(folder: Path) -> None:
    assert (
        main(
            [
                "backtest",
                TOY,
                "--data",
                str(folder),
                "--set",
                "slow=500",
                "--to",
                "2024-01-10",
                "--report",
                str(folder / "r"),
            ]
        )
        == 0
    )
    assert "No trade." in (folder / "r" / "report.html").read_text()


FAULTS = {
    "an unknown strategy": (["nothing"], "There is no bot called 'nothing'"),
    "an unknown parameter": ([TOY, "--set", "speed=9"], "There is no parameter 'speed'"),
    "a parameter without a value": ([TOY, "--set", "fast"], "key=value"),
    "a wrong value": ([TOY, "--set", "fast=quick"], "fast is 'quick'"),
    "a wrong date": ([TOY, "--from", "yesterday"], "is not a date"),
    "an empty range": ([TOY, "--from", "2030-01-01"], "no candles of the range"),
    "cash of zero": ([TOY, "--cash", "0"], "--cash must be above zero"),
    "cash beyond any": ([TOY, "--cash", "1e400"], "at most 1,000,000,000,000, not 1e400"),
    "cash that is next to nothing": ([TOY, "--cash", "1e-999999999"], "--cash must be zero or at least 0.000000000001"),
    "a fee beyond any": ([TOY, "--fee", "1e999999999"], "--fee must be a number not below zero and at most 1,000,000"),
    "slippage that is next to nothing": (
        [TOY, "--slippage-bps", "1e-999999999"],
        "--slippage-bps must be zero or at least",
    ),
    "a funding rate beyond any": ([TOY, "--funding", "1e999999999"], "--funding 1e999999999 is not a rate per 8 hours"),
    "a parameter beyond any": (
        [TOY, "--set", "usdt=1e999999999"],
        "usdt is '1e999999999': must be zero, or between 1e-20 and",
    ),
    "days beyond any": ([TOY, "--resume-days", "99999999999"], "--resume-days"),
    "a fee in percent": ([TOY, "--fee", "5.5"], "0.00055 is 0.055 %"),
    "a strategy of another interval": (["momentum", "--symbols", "XUSDT"], "trades 240-minute bars"),
    "a symbol that turns the line around": (
        [TOY, "--symbols", "\u202eX"],
        r"has no candles of '\u202eX'; it has XUSDT",
    ),
    "a name that fills the screen": (["x" * 9_000], "x... (9,002 characters). The bots are:"),
    "a parameter that fills the screen": (
        [TOY, "--set", "x" * 9_000 + "=1"],
        "x... (9,002 characters). The parameters are:",
    ),
    "a symbol without data": ([TOY, "--symbols", "YUSDT"], "no candles of YUSDT"),
    "no module": ([":"], "The strategy ':' names no class: write module:Class"),
    "a relative module": ([".rel:X"], "The strategy '.rel:X' names no class"),
    "no class": (["alpha:"], "The strategy 'alpha:' names no class"),
    "a module without the name": (["strategies.nowhere:X"], "cannot be loaded"),
    "no symbol": ([TOY, "--symbols", ""], "--symbols '' names no symbol: write BTCUSDT,ETHUSDT, or all"),
    "only commas": ([TOY, "--symbols", ","], "--symbols ',' names no symbol"),
    "columns that are not there": ([TOY, "--columns", "/nonexist"], "--columns /nonexist is not a folder"),
    "a funding rate in percent": ([TOY, "--funding", "5"], "0.0001 for 0.01 %"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_done_is_one_sentence_and_an_exit_code(
    folder: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    words, sentence = FAULTS[fault]
    assert main(["backtest", *words, "--data", str(folder)]) != 0
    told = capsys.readouterr().err
    assert sentence in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "XUSDT.funding.csv",
            "time_ms,rate\n1704067200000,0.0001\n",
            "holds 1 of the at least two rates that are needed to know how often funding is paid: add rates, "
            "run 'alpha data download' again, or remove the file, and the rate of --funding is taken.",
        ),
        (
            "instruments-info.json",
            '[{"symbol": "XUSDT"}]',
            "of instrument 1 is missing. Mend or remove it, or download the data again.",
        ),
    ],
)
def test_a_file_beside_the_candles_made_by_hand_is_refused_with_what_to_do(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, said: str
) -> None:
    (folder / name).write_text(text)
    assert main(["backtest", TOY, "--data", str(folder)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"{folder / name} ")
    assert said in told
    assert "Bybit" not in told


@pytest.mark.parametrize("words", ["check momentum", "sweep h1 --strategy momentum --space x.toml"])
def test_a_seed_below_zero_is_refused(folder: Path, capsys: pytest.CaptureFixture[str], words: str) -> None:
    assert main([*words.split(), "--data", str(folder), "--seed", "-1"]) == 2
    told = capsys.readouterr().err
    assert "--seed" in told
    assert "Traceback" not in told


def test_a_portfolio_names_each_strategy_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part = f"{TOY}={folder}"
    assert main(["portfolio", part]) == 0
    assert main(["portfolio", part, part]) == 2
    assert f"'{TOY}' is named twice. Name each strategy once" in capsys.readouterr().err
