"""Reading candles: what is accepted, and the sentence for what is not."""

import gzip
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from alpha.errors import Misconfigured
from backtester.candle_files import read_folder, write_file
from backtester.candles import fingerprint
from backtester.funding import read_funding, write_funding
from backtester.instruments import fitting_instrument
from tests.support.toy_strategies import HOUR_MS, START_MS, random_bars

HEADER = "start_ms,open,high,low,close,volume"


def lines(count: int = 5) -> list[str]:
    return [f"{START_MS + n * HOUR_MS},10{n}.5,110,90,10{n},7.25" for n in range(count)]


def written(folder: Path, rows: list[str], name: str = "XUSDT.csv", header: str = HEADER) -> Path:
    text = "\n".join([header, *rows]) + "\n"
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return folder


def test_csv_gzip_and_parquet_hold_the_same_candles(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("csv", "gz", "parquet")]
    for folder in folders:
        folder.mkdir()
    plain = read_folder(written(folders[0], lines()))
    zipped = read_folder(written(folders[1], lines(), "XUSDT.csv.gz"))
    write_file(folders[2] / "XUSDT.parquet", plain["XUSDT"])
    prints = {fingerprint(found.values()) for found in (plain, zipped, read_folder(folders[2]))}
    assert len(prints) == 1
    assert plain["XUSDT"].close.tolist() == [100.0, 101.0, 102.0, 103.0, 104.0]
    assert plain["XUSDT"].interval_ms == HOUR_MS


def test_one_changed_digit_changes_the_fingerprint(tmp_path: Path) -> None:
    before = fingerprint(read_folder(written(tmp_path, lines())).values())
    assert before != fingerprint(read_folder(written(tmp_path, [*lines()[:-1], lines()[-1] + "1"])).values())


def row(number: int, rest: str = "100,110,90,100,5") -> str:
    return f"{START_MS + number * HOUR_MS},{rest}"


FAULTS: dict[str, tuple[list[str], str]] = {
    "a gap": ([row(0), row(1), row(3)], r"1 candles of 3600 s are missing after 2024-01-01 01:00"),
    "a time twice": ([row(0), row(1), row(1)], "occurs twice"),
    "times that go back": ([row(0), row(2), row(1)], "goes back"),
    "a low above the open": ([row(0), row(1, "80,110,90,100,5")], "low is above open"),
    "a high below the close": ([row(0), row(1, "100,110,90,120,5")], "high is below close"),
    "a price of zero": ([row(0), row(1, "0,110,0,100,5")], "not above zero"),
    "a negative volume": ([row(0), row(1, "100,110,90,100,-5")], "volume is negative"),
    "an empty field": ([row(0), row(1, "100,,90,100,5")], "line 3: high must be a number, found an empty field"),
    "one candle only": ([row(0)], "at least two candles"),
    "a text for a price": ([row(0), row(1, "100,abc,90,100,5")], "line 3: high must be a number, found 'abc'"),
    "a start off the grid": (
        [f"{START_MS + 60_000},100,110,90,100,5", f"{START_MS + 60_000 + HOUR_MS},100,110,90,100,5"],
        "no multiple",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_candles_are_refused_with_the_place_and_the_fault(tmp_path: Path, fault: str) -> None:
    rows, sentence = FAULTS[fault]
    with pytest.raises(Misconfigured, match=sentence):
        read_folder(written(tmp_path, rows))


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no column volume"):
        read_folder(written(tmp_path, [text.rsplit(",", 1)[0] for text in lines()], header=HEADER.rsplit(",", 1)[0]))


def test_a_symbol_the_folder_lacks_is_named_with_those_it_has(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no candles of YUSDT; it has XUSDT"):
        read_folder(written(tmp_path, lines()), ["YUSDT"])


def test_two_files_of_a_symbol_are_refused(tmp_path: Path) -> None:
    written(tmp_path, lines())
    with pytest.raises(Misconfigured, match="keep one of them"):
        read_folder(written(tmp_path, lines(), "XUSDT.csv.gz"))


def test_candles_of_two_lengths_are_refused(tmp_path: Path) -> None:
    write_file(tmp_path / "AUSDT.parquet", random_bars(1, 10, "AUSDT", interval_ms=2 * HOUR_MS))
    with pytest.raises(Misconfigured, match="keep one length a folder"):
        read_folder(written(tmp_path, lines()))


def test_a_missing_folder_and_an_empty_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="is not a folder"):
        read_folder(tmp_path / "nothing")
    with pytest.raises(Misconfigured, match="holds no candles"):
        read_folder(tmp_path)


def test_an_instrument_fits_every_price_and_volume() -> None:
    instrument = fitting_instrument(random_bars(3, 500))
    assert (instrument.tick_size, instrument.qty_step) == (Decimal("0.01"), Decimal("0.1"))


def test_recorded_funding_goes_before_the_constant_rate(tmp_path: Path) -> None:
    rates = {START_MS + n * 8 * HOUR_MS: Decimal("0.00012") + n for n in range(6)}
    write_funding(tmp_path / "XUSDT.funding.parquet", rates)
    span = (START_MS + 8 * HOUR_MS, START_MS + 30 * HOUR_MS)
    found = read_funding(tmp_path, {"XUSDT": span, "YUSDT": span}, Decimal("0.0003"))
    assert found["XUSDT"].rate == (Decimal("1.00012"), Decimal("2.00012"), Decimal("3.00012"))
    assert found["YUSDT"].rate == (Decimal("0.0003"),) * 3
    assert np.array_equal(found["XUSDT"].time_ms, found["YUSDT"].time_ms)


def test_recorded_funding_that_ends_too_early_is_refused(tmp_path: Path) -> None:
    write_funding(tmp_path / "XUSDT.funding.parquet", {START_MS + n * 8 * HOUR_MS: Decimal(0) for n in range(3)})
    with pytest.raises(Misconfigured, match="does not reach over the whole back-test"):
        read_funding(tmp_path, {"XUSDT": (START_MS, START_MS + 50 * HOUR_MS)})


def test_missing_funding_is_an_error_when_only_recorded_rates_will_do(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="give a constant rate with --funding"):
        read_funding(tmp_path, {"XUSDT": (START_MS, START_MS + HOUR_MS)}, None)
