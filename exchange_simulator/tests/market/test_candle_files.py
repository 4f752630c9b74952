"""The shared reader: simulated exchange and backtester read the same values and reject the same files."""

import gzip
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from exchange_simulator.candle_files import CandleFault, candle_files, read_candles
from exchange_simulator.market import MarketError, open_folder

HEADER = "start_ms,open,high,low,close,volume"
START, FIVE = 1_735_689_600_000, 300_000
ROWS = [f"{START + n * FIVE},10{n}.50,110,90,10{n}.25,{n}.125" for n in range(6)]
PLAIN = "\n".join([HEADER, *ROWS]) + "\n"


def times(scale: int, *, down: bool = False) -> str:
    changed = [row.split(",", 1) for row in ROWS]
    stamps = [str(int(time) // scale if down else int(time) * scale) for time, _ in changed]
    return "\n".join([HEADER, *(f"{stamp},{rest}" for stamp, (_, rest) in zip(stamps, changed, strict=True))])


FORMS = {
    "plain": PLAIN,
    "a byte order mark": "\ufeff" + PLAIN,
    "capitals and blanks in the names": PLAIN.replace(HEADER, "Start_MS, OPEN ,High, low,Close,Volume"),
    "blanks after commas": PLAIN.replace(",", ", "),
    "line ends of Windows": PLAIN.replace("\n", "\r\n"),
    "another order and more columns": "\n".join(
        ["symbol,volume,close,low,high,open,start_ms", *(",".join(["X", *row.split(",")[::-1]]) for row in ROWS)]
    ),
    "quotes": "\n".join([HEADER, *(",".join(f'"{field}"' for field in row.split(",")) for row in ROWS)]),
    "seconds": times(1000, down=True),
    "microseconds": times(1000),
    "nanoseconds": times(1_000_000),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_that_means_the_same_is_read_the_same(tmp_path: Path, form: str) -> None:
    path = tmp_path / "XUSDT.csv"
    path.write_text(FORMS[form], encoding="utf-8", newline="")
    found = read_candles(path)
    assert found.start_ms.tolist() == [START + n * FIVE for n in range(6)]
    assert (found.interval_ms, found.gaps) == (FIVE, ())
    assert found.floats("close").tolist() == [100.25, 101.25, 102.25, 103.25, 104.25, 105.25]
    assert found.texts("open")[0] == "100.50"
    market = open_folder(tmp_path)
    bar = market.bar("XUSDT", START + FIVE)
    assert bar is not None
    assert float(market.instruments["XUSDT"].price(bar.close)) == 101.25


@pytest.mark.parametrize(
    "name", ["XUSDT.CSV", "xusdt.csv", "XUSDT.csv.GZ", "XUSDT.zip", "XUSDT.csv.zip", "XUSDT.parquet"]
)
def test_every_kind_of_file_is_read_by_its_ending_in_any_case(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("zip"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("XUSDT-5m.csv", PLAIN)
    elif name.endswith("parquet"):
        pl.read_csv(PLAIN.encode()).write_parquet(path)
    else:
        path.write_bytes(gzip.compress(PLAIN.encode()) if name.lower().endswith(".gz") else PLAIN.encode())
    assert list(candle_files(tmp_path)) == ["XUSDT"]
    assert len(read_candles(path).start_ms) == 6
    assert open_folder(tmp_path).end_ms == START + 6 * FIVE


def with_row(place: int, row: str) -> str:
    rows = list(ROWS)
    rows[place] = row
    return "\n".join([HEADER, *rows])


AT = f"{START + 2 * FIVE}"
FAULTS = {
    "a price of 1e300": (with_row(2, f"{AT},100,1e300,90,100,1"), "line 4: a price is above"),
    "a volume of 1e300": (with_row(2, f"{AT},100,110,90,100,1e300"), "line 4: volume is above"),
    "infinity": (with_row(2, f"{AT},100,inf,90,100,1"), "line 4: high must be a number, found 'inf'"),
    "not a number": (with_row(2, f"{AT},100,nan,90,100,1"), "line 4: high must be a number, found 'nan'"),
    "a text": (with_row(2, f"{AT},100,abc,90,100,1"), "line 4: high must be a number, found 'abc'"),
    "an empty field": (with_row(2, f"{AT},100,,90,100,1"), "line 4: high must be a number, found an empty field"),
    "a field too few": (with_row(2, f"{AT},100,110,90,100"), "line 4: 6 fields are needed, found 5 fields"),
    "an empty line": (with_row(2, ""), "line 4: 6 fields are needed, found nothing"),
    "a date": (with_row(0, "2025-01-01 00:00:00,100,110,90,100,1"), "line 2: start_ms must be whole milliseconds"),
    "a negative time": (with_row(0, "-5,100,110,90,100,1"), "line 2: the time is negative, found -5"),
    "two units": (with_row(0, f"{START // 1000},100,110,90,100,1"), "no multiple|whole minutes|missing"),
    "a missing column": (PLAIN.replace(",volume", ",turnover"), "line 1: it has no column volume; it needs start_ms"),
    "a column twice": (PLAIN.replace("high", "open"), "line 1: "),
    "nothing": ("", "line 1: it has no column"),
    "a number too long": (with_row(0, "9" * 400 + ",100,110,90,100,1"), "line 2: start_ms must be whole"),
    "a gap": (with_row(5, f"{START + 9 * FIVE},100,110,90,100,1"), r"line 7: 4 candles of 300 s are missing after"),
    "a negative open": (with_row(2, f"{AT},-5,110,90,100,1"), "line 4: open is not above zero, found '-5'"),
    "a price of zero": (with_row(2, f"{AT},100,110,0,100,1"), "line 4: low is not above zero, found '0'"),
    "a negative volume": (with_row(2, f"{AT},100,110,90,100,-5"), "line 4: volume is negative, found '-5'"),
    "a low above the open": (with_row(2, f"{AT},80,110,90,100,1"), "line 4: low is above open, found '90' and '80'"),
    "a null byte": (PLAIN.replace("100.50", "10\x000.50"), "line 2: open must be a number"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_sentence_with_the_line_for_both(tmp_path: Path, fault: str) -> None:
    text, sentence = FAULTS[fault]
    path = tmp_path / "XUSDT.csv"
    path.write_text(text)
    with pytest.raises(CandleFault, match=sentence) as caught:
        read_candles(path)
    assert "\n" not in str(caught.value)
    assert "XUSDT.csv" in str(caught.value)
    with pytest.raises(MarketError) as theirs:
        open_folder(tmp_path)
    assert str(theirs.value) == str(caught.value)


@pytest.mark.parametrize("name", ["XUSDT.csv.gz", "XUSDT.zip", "XUSDT.parquet", "XUSDT.csv"])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"PAR1\xff\xfe\x00damaged" * 9)
    with pytest.raises(CandleFault, match=r"XUSDT\.\S+ (cannot be read|line \d+)"):
        read_candles(path)


def test_only_the_range_is_checked_for_gaps_and_the_advice_can_be_followed(tmp_path: Path) -> None:
    rows = [row for number, row in enumerate(ROWS) if number != 2]
    path = tmp_path / "XUSDT.csv"
    path.write_text("\n".join([HEADER, *rows]))
    with pytest.raises(CandleFault, match="take a range without the gap"):
        read_candles(path)
    after = read_candles(path, from_ms=START + 3 * FIVE)
    assert after.start_ms.tolist() == [START + n * FIVE for n in (3, 4, 5)]
    assert after.floats("open").tolist() == [103.5, 104.5, 105.5]
    before = read_candles(path, to_ms=START + 2 * FIVE)
    assert before.start_ms.tolist() == [START, START + FIVE]
    # candles leading up to the range without a gap are kept for warm-up
    assert read_candles(path, from_ms=START + 4 * FIVE).start_ms[0] == START + 3 * FIVE
    with pytest.raises(CandleFault, match="1 candles"):
        read_candles(path, from_ms=START + FIVE)
    told = read_candles(path, gaps=True)
    assert [(gap.before_ms, gap.after_ms) for gap in told.gaps] == [(START + FIVE, START + 3 * FIVE)]
    assert len(told.start_ms) == 5
    assert np.all(np.diff(read_candles(path, from_ms=START + 9 * FIVE).start_ms) > 0)


def test_the_folder_says_what_it_found_and_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "candles of May.xlsx").touch()
    with pytest.raises(CandleFault, match=r"it needs SYMBOL\.csv.*found candles of May\.xlsx"):
        candle_files(tmp_path)
    (tmp_path / "XUSDT.csv").touch()
    (tmp_path / "xusdt.zip").touch()
    with pytest.raises(CandleFault, match="keep one of them"):
        candle_files(tmp_path)
