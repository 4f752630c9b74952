"""Recorded candles: every digit is kept, every fault is reported."""

import gzip
import json
from decimal import Decimal
from pathlib import Path

import pytest

from exchange_simulator.market import Bar, Market, MarketError, open_folder

HEADER = "start_ms,open,high,low,close,volume"
FIVE = 300_000
GOOD = (
    f"{FIVE},81794.8,81998.1,81785.2,81804.9,317.956",
    f"{2 * FIVE},81804.9,81898.30,81714.5,81800.3,128.285",
    f"{3 * FIVE},81800.3,81900.0,81736.0,81814.0,0",
)


def write(folder: Path, *lines: str, name: str = "BTCUSDT.csv", header: str = HEADER) -> Path:
    text = "\n".join((header, *lines)) + "\n"
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return folder


def swap(place: int, line: str) -> list[str]:
    lines = list(GOOD)
    lines[place] = line
    return lines


@pytest.mark.parametrize("name", ["BTCUSDT.csv", "BTCUSDT.csv.gz"])
def test_a_recorded_candle_comes_back_to_the_last_digit(tmp_path: Path, name: str) -> None:
    market = open_folder(write(tmp_path, *GOOD, name=name))
    btc = market.instruments["BTCUSDT"]
    bar = market.bar("BTCUSDT", FIVE)
    assert bar is not None
    assert [btc.price(ticks) for ticks in bar[1:5]] == [
        Decimal(text) for text in ("81794.8", "81998.1", "81785.2", "81804.9")
    ]
    assert btc.qty(bar.volume) == Decimal("317.956")


def test_a_replay_is_a_market(tmp_path: Path) -> None:
    market = open_folder(write(tmp_path, *GOOD))
    assert isinstance(market, Market)
    assert (market.base_ms, market.first_ms, market.end_ms) == (FIVE, FIVE, 4 * FIVE)
    assert market.index_price("BTCUSDT", FIVE, 818_000) == Decimal("81800.0")
    assert market.funding_rate("BTCUSDT", FIVE) == Decimal("0.0001")
    assert market.open_interest("BTCUSDT", 3 * FIVE) == Decimal("446.241")


def test_bars_are_cut_by_their_start(tmp_path: Path) -> None:
    market = open_folder(write(tmp_path, *GOOD))
    starts = [bar.start_ms for bar in market.bars("BTCUSDT", FIVE + 1, 3 * FIVE)]
    assert starts == [2 * FIVE]
    assert len(market.bars("BTCUSDT", 0, 10**12)) == 3
    assert market.bars("BTCUSDT", 10 * FIVE, 20 * FIVE) == []


def test_there_is_no_bar_outside_the_record_nor_between_two_starts(tmp_path: Path) -> None:
    market = open_folder(write(tmp_path, *GOOD))
    assert market.bar("BTCUSDT", 0) is None
    assert market.bar("BTCUSDT", 4 * FIVE) is None
    assert market.bar("BTCUSDT", FIVE + 1) is None


def test_longer_candles_are_joined_and_shorter_ones_do_not_exist(tmp_path: Path) -> None:
    market = open_folder(write(tmp_path, *GOOD))
    assert market.candles("BTCUSDT", "15", 0, 10 * FIVE) == [
        Bar(0, 817_948, 819_981, 817_145, 818_003, 446_241),
        Bar(3 * FIVE, 818_003, 819_000, 817_360, 818_140, 0),
    ]
    assert market.candles("BTCUSDT", "5", FIVE, 2 * FIVE) == market.bars("BTCUSDT", FIVE, 2 * FIVE)
    assert market.candles("BTCUSDT", "1", 0, 10 * FIVE) == []
    assert market.candles("BTCUSDT", "15", 1, 3 * FIVE) == []


def test_a_price_finer_than_the_usual_tick_makes_a_finer_tick(tmp_path: Path) -> None:
    market = open_folder(write(tmp_path, *swap(1, f"{2 * FIVE},81804.9,81898.33,81714.5,81800.3,128.2851")))
    assert market.instruments["BTCUSDT"].tick_size == Decimal("0.01")
    assert market.instruments["BTCUSDT"].qty_step == Decimal("0.0001")


def test_an_unknown_symbol_gets_the_tick_and_step_its_record_needs(tmp_path: Path) -> None:
    rows = (f"{FIVE},6.75e-06,6.77e-06,6.59e-06,6.62e-06,807985831176.0", f"{2 * FIVE},6.6e-6,7e-6,6.6e-6,7e-6,10.0")
    market = open_folder(write(tmp_path, *rows, name="QQQUSDT.csv"))
    made = market.instruments["QQQUSDT"]
    assert (made.tick_size, made.qty_step) == (Decimal("1E-8"), Decimal(1))
    assert market.bar("QQQUSDT", FIVE) == Bar(FIVE, 675, 677, 659, 662, 807_985_831_176)


def test_numbers_too_long_for_floating_point_keep_every_digit(tmp_path: Path) -> None:
    rows = (f"{FIVE},1,1,1,1,12345678901234.567", f"{2 * FIVE},1,1,1,1,0.001")
    market = open_folder(write(tmp_path, *rows, name="QQQUSDT.csv"))
    bar = market.bar("QQQUSDT", FIVE)
    assert bar is not None
    assert bar.volume == 12_345_678_901_234_567


def test_stated_filters_count_before_all_others(tmp_path: Path) -> None:
    stated = {"BTCUSDT": {"tick_size": "0.05", "qty_step": "0.01", "max_leverage": 20, "min_notional": "10"}}
    (tmp_path / "instruments.json").write_text(json.dumps(stated))
    market = open_folder(write(tmp_path, *GOOD))
    btc = market.instruments["BTCUSDT"]
    assert (btc.tick_size, btc.qty_step, btc.max_leverage, btc.min_notional) == (
        Decimal("0.05"),
        Decimal("0.01"),
        Decimal(20),
        Decimal(10),
    )
    bar = market.bar("BTCUSDT", FIVE)
    assert bar is not None
    assert btc.price(bar.open) == Decimal("81794.8")
    assert btc.qty(bar.volume) == Decimal("317.96")


@pytest.mark.parametrize(
    ("lines", "where", "what"),
    [
        (swap(1, f"{2 * FIVE},81804.9,81898.3,81714.5,81800.3"), "line 3", "6 fields"),
        (swap(1, f"{2 * FIVE},81804.9,oops,81714.5,81800.3,1"), "line 3", "high must be a number"),
        (swap(2, f"{3 * FIVE},81804.9,81898.3,81714.5,nan,1"), "line 4", "close must be a number"),
        (swap(1, "soon,81804.9,81898.3,81714.5,81800.3,1"), "line 3", "whole milliseconds"),
        (swap(2, f"{2 * FIVE},81800.3,81900.0,81736.0,81814.0,1"), "line 4", "occurs twice"),
        (swap(2, f"{FIVE},81800.3,81900.0,81736.0,81814.0,1"), "line 4", "goes back"),
        (swap(1, f"{FIVE},81800.3,81900.0,81736.0,81814.0,1"), "line 3", "occurs twice"),
        (swap(2, f"{5 * FIVE},81800.3,81900.0,81736.0,81814.0,1"), "line 4", "are missing"),
        (swap(1, f"{2 * FIVE},81804.9,81898.3,81805.0,81810.3,1"), "line 3", "low is above open"),
        (swap(1, f"{2 * FIVE},81804.9,81898.3,81800.4,81800.3,1"), "line 3", "low is above close"),
        (swap(0, f"{FIVE},81804.9,81804.8,81714.5,81800.3,1"), "line 2", "high is below open"),
        (swap(0, f"{FIVE},81804.9,81804.9,81714.5,81904.9,1"), "line 2", "high is below close"),
        (swap(0, f"{FIVE},81804.9,81804.9,0,81800.3,1"), "line 2", "not above zero"),
        (swap(2, f"{3 * FIVE},81800.3,81900.0,81736.0,81814.0,-1"), "line 4", "volume is negative"),
        ([line.replace("00000,", "00001,") for line in GOOD], "line 2", "multiple of its length"),
        (list(GOOD[:1]), "BTCUSDT.csv", "at least two candles"),
    ],
)
def test_a_fault_names_the_file_the_line_and_the_trouble(
    tmp_path: Path, lines: list[str], where: str, what: str
) -> None:
    write(tmp_path, *lines)
    with pytest.raises(MarketError) as caught:
        open_folder(tmp_path)
    message = str(caught.value)
    assert "BTCUSDT.csv" in message
    assert where in message
    assert what in message
    assert "\n" not in message


def test_a_wrong_header_is_named(tmp_path: Path) -> None:
    write(tmp_path, *GOOD, header="time,open,high,low,close,volume")
    with pytest.raises(MarketError, match=r"BTCUSDT\.csv line 1: it has no column start_ms"):
        open_folder(tmp_path)


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "BTCUSDT.csv.gz").write_bytes(gzip.compress(b"x" * 100)[:20])
    with pytest.raises(MarketError, match=r"BTCUSDT\.csv\.gz cannot be read"):
        open_folder(tmp_path)


def test_one_folder_holds_one_interval(tmp_path: Path) -> None:
    write(tmp_path, *GOOD)
    write(tmp_path, "600000,1,1,1,1,1", "1200000,1,1,1,1,1", name="ETHUSDT.csv")
    with pytest.raises(MarketError, match="one folder holds one interval"):
        open_folder(tmp_path)


def test_a_folder_without_candles_or_without_the_asked_symbol_is_named(tmp_path: Path) -> None:
    with pytest.raises(MarketError, match="is not a folder"):
        open_folder(tmp_path / "nowhere")
    with pytest.raises(MarketError, match="holds no"):
        open_folder(tmp_path)
    write(tmp_path, *GOOD)
    with pytest.raises(MarketError, match=r"no candles of ETHUSDT: it has BTCUSDT\."):
        open_folder(tmp_path, symbols=("ETHUSDT",))


@pytest.mark.parametrize(
    ("stated", "what"),
    [
        ('{"BTCUSDT": {"tick": "0.1"}}', "allowed are"),
        ('{"BTCUSDT": {"tick_size": "zero"}}', "must be a number above zero"),
        ('{"BTCUSDT": {"tick_size": "0.3"}}', "does not fit the stated tick_size"),
        ("{", "not readable JSON"),
        ("[]", "must map symbols"),
    ],
)
def test_faulty_stated_filters_are_named(tmp_path: Path, stated: str, what: str) -> None:
    (tmp_path / "instruments.json").write_text(stated)
    with pytest.raises(MarketError, match=what):
        open_folder(write(tmp_path, *GOOD))
