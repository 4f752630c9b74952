"""The importer reads samples made after each public format's documents, with each known oddity, and refuses what is unclear."""

import gzip
import json
import zipfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from alpha.errors import Misconfigured
from alpha_cli.main import main
from backtester.candle_files import read_file, write_file
from backtester.funding import read_rows
from research.data_check import check_folder
from research.data_import import import_files, symbol_of
from tests.support.toy_strategies import HOUR_MS, START_MS, random_bars

FIVE = 300_000
BINANCE = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)


def candles(count: int, *, start: int = 0, unit: float = 1, tail: str = "") -> list[str]:
    """Lines of five-minute candles; `unit` is the times' unit in milliseconds."""
    return [
        f"{int((START_MS + n * FIVE) / unit)},{100 + n},{101.5 + n},{99.5 + n},{100.5 + n},{10 + n}{tail}"
        for n in range(start, start + count)
    ]


def zipped(path: Path, lines: list[str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(path.stem + ".csv", "\n".join(lines))
    return path


def imported(tmp_path: Path, *paths: Path, symbol: str | None = None) -> tuple[list[int], list[float]]:
    import_files(paths, tmp_path / "data", symbol)
    bars = read_file(tmp_path / "data" / "BTCUSDT.parquet", "BTCUSDT", gaps=True)
    return ((bars.start_ms - START_MS) // FIVE).tolist(), bars.close.tolist()


EXPECTED = (list(range(6)), [100.5 + n for n in range(6)])
TAIL = ",0,1,2,3,4,0"


def test_binance_vision_with_and_without_header_in_milliseconds_and_microseconds(tmp_path: Path) -> None:
    old = zipped(tmp_path / "BTCUSDT-5m-2024-01.zip", candles(3, tail=TAIL))
    new = zipped(tmp_path / "BTCUSDT-5m-2025-01.zip", [BINANCE, *candles(3, start=3, unit=0.001, tail=TAIL)])
    assert imported(tmp_path, old, new) == EXPECTED


def test_bybit_archives_and_answers(tmp_path: Path) -> None:
    first = tmp_path / "BTCUSDT_5_2024-01-01_2024-01-02.csv.gz"
    first.write_bytes(
        gzip.compress("\n".join(["start_at,open,high,low,close,volume", *candles(3, unit=1000)]).encode())
    )
    second = tmp_path / "BTCUSDT-kline.json"
    rows = [[*line.split(","), "0"] for line in reversed(candles(3, start=3))]
    second.write_text(json.dumps({"retCode": 0, "result": {"symbol": "BTCUSDT", "list": rows}}))
    assert imported(tmp_path, first, second) == EXPECTED


def test_cryptodatadownload_newest_first_units_mixed_under_a_line_of_advertisement(tmp_path: Path) -> None:
    path = tmp_path / "Binance_BTCUSDT_5m.csv"
    lines = [
        "https://www.CryptoDataDownload.com",
        "Unix,Date,Symbol,Open,High,Low,Close,Volume BTC,Volume USDT,tradecount",
    ]
    for n in reversed(range(6)):
        unix = (START_MS + n * FIVE) // (1000 if n % 2 else 1)
        lines.append(f"{unix},2024-01-01 00:00:00,BTCUSDT,{100 + n},{101.5 + n},{99.5 + n},{100.5 + n},{10 + n},1,2")
    path.write_text("\ufeff" + "\r\n".join(lines))
    assert imported(tmp_path, path) == EXPECTED


def test_freqtrade_feather_and_json_and_ccxt(tmp_path: Path) -> None:
    rows = [[float(part) for part in line.split(",")] for line in candles(6)]
    frame = pl.DataFrame(rows[:3], schema=["date", "open", "high", "low", "close", "volume"], orient="row")
    dated = frame.with_columns(pl.col("date").cast(pl.Int64).cast(pl.Datetime("ms", "UTC")))
    dated.write_ipc(tmp_path / "BTC_USDT_USDT-5m-futures.feather")
    (tmp_path / "BTC_USDT-5m.json").write_text(json.dumps([[int(row[0]), *row[1:]] for row in rows[3:]]))
    assert imported(tmp_path, tmp_path / "BTC_USDT_USDT-5m-futures.feather", tmp_path / "BTC_USDT-5m.json") == EXPECTED


def test_blank_lines_a_header_in_the_middle_equal_rows_and_a_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    body = candles(6, tail=TAIL)
    (tmp_path / "in" / "BTCUSDT-5m.csv").write_text("\n".join([BINANCE, *body[:3], "", BINANCE, *body[2:], "", ""]))
    done = import_files([tmp_path / "in"], tmp_path / "data")
    assert (done[0].rows, done[0].twice, done[0].passed) == (6, 1, 3)
    assert imported(tmp_path, tmp_path / "in") == EXPECTED


def test_a_missing_day_stays_a_hole_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "BTCUSDT-5m.csv").write_text("\n".join(candles(4) + candles(4, start=300)))
    assert main(["data", "import", str(tmp_path / "BTCUSDT-5m.csv"), "--data", str(tmp_path / "data")]) == 0
    assert "hole after 2024-01-01 00:15 to 2024-01-02 01:00" in capsys.readouterr().out
    assert main(["data", "check", str(tmp_path / "data")]) == 0
    assert "hole: 296 candles after 2024-01-01 00:15" in capsys.readouterr().out


@pytest.mark.parametrize("files", [None, [], ["notes.txt"], ["BTCUSDT.csv", "btcusdt.CSV"]])
def test_a_folder_that_cannot_be_checked_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], files: list[str] | None
) -> None:
    folder = tmp_path / "data"
    if files is not None:
        folder.mkdir()
        for name in files:
            (folder / name).write_text("\n".join(candles(4)))
    assert main(["data", "check", str(folder)]) == 2
    said = capsys.readouterr().err
    assert str(folder) in said
    assert said.count("\n") == 1


def test_a_doubled_hour_is_refused_with_both_places(tmp_path: Path) -> None:
    lines = candles(4)
    again = lines[2].replace("102.5", "102.4")
    (tmp_path / "BTCUSDT.csv").write_text("\n".join([*lines, again]))
    with pytest.raises(Misconfigured, match=r"BTCUSDT\.csv line 5: .* twice .* line 3.*UTC"):
        import_files([tmp_path / "BTCUSDT.csv"], tmp_path / "data")


def test_what_is_there_already_is_kept_and_must_agree(tmp_path: Path) -> None:
    (tmp_path / "BTCUSDT.csv").write_text("\n".join(candles(4)))
    import_files([tmp_path / "BTCUSDT.csv"], tmp_path / "data")
    (tmp_path / "BTCUSDT.csv").write_text("\n".join(candles(4, start=2)))
    assert imported(tmp_path, tmp_path / "BTCUSDT.csv") == EXPECTED
    (tmp_path / "BTCUSDT.csv").write_text(candles(1)[0].replace("100.5", "100.25"))
    with pytest.raises(Misconfigured, match="twice with different values"):
        import_files([tmp_path / "BTCUSDT.csv"], tmp_path / "data")


def test_funding_of_binance_and_freqtrade(tmp_path: Path) -> None:
    (tmp_path / "BTCUSDT-fundingRate-2024-01.csv").write_text(
        f"calc_time,funding_interval_hours,last_funding_rate\n{START_MS + 5},8,0.00010000\n{START_MS + 8 * HOUR_MS + 3},8,-0.00002\n"
    )
    pl.DataFrame(
        {
            "date": [START_MS + 16 * HOUR_MS],
            "open": [0.0003],
            "high": [0.0],
            "low": [0.0],
            "close": [0.0],
            "volume": [0.0],
        }
    ).with_columns(pl.col("date").cast(pl.Datetime("ms", "UTC"))).write_ipc(
        tmp_path / "BTC_USDT_USDT-8h-funding_rate.feather"
    )
    import_files([tmp_path], tmp_path / "data")
    times, rates = read_rows(tmp_path / "data" / "BTCUSDT.funding.parquet")
    assert ((times - START_MS) // HOUR_MS).tolist() == [0, 8, 16]
    assert rates == (Decimal("0.0001"), Decimal("-0.00002"), Decimal("0.0003"))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("BTCUSDT.csv", "1704067200000,1,2,x,1,1\n1704067500000,1,2,1,1,1", r"line 1: low must be a number, found 'x'"),
        ("BTCUSDT.csv", "yesterday,1,2,1,1,1", r"line 1: the time must be a number or a date, found 'yesterday'"),
        ("BTCUSDT.csv", "1704067200000,1,2,1,1", r"6 fields are needed, found 5"),
        ("BTCUSDT.csv", "1704067200000,1,2,1,1,1", r"at least two"),
        ("BTCUSDT.csv", "1704067200000,1,2,1,1,1\n1704067230000,1,2,1,1,1", r"does not fit candles of 30 s"),
        ("BTCUSDT.csv", "1704067200000,1,0.5,1,1,1\n1704067500000,1,2,1,1,1", r"its high below"),
        ("BTCUSDT.json", "{", r"cannot be read as JSON"),
        ("BTCUSDT.json", "[[1704067200000, 1]]", r"row 1: time and open"),
        ("BTCUSDT.csv.gz", "no gzip", r"cannot be read"),
        ("BTCUSDT.zip", "no zip", r"cannot be read"),
        ("BTCUSDT.feather", "no feather", r"cannot be read"),
        ("prices.csv", "1,2", r"does not tell the symbol"),
    ],
)
def test_what_is_unclear_is_refused_with_the_place(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(Misconfigured, match=said):
        import_files([tmp_path / name], tmp_path / "data")


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("BTCUSDT-5m-2024-01.zip", "BTCUSDT"),
        ("BTCUSDT_5_2024-01-01.csv.gz", "BTCUSDT"),
        ("Binance_1000PEPEUSDT_1h.csv", "1000PEPEUSDT"),
        ("ETH_USDT-4h.json", "ETHUSDT"),
        ("SOL_USDT_USDT-5m-futures.feather", "SOLUSDT"),
        ("prices.csv", None),
    ],
)
def test_the_symbol_is_in_the_name(name: str, symbol: str | None) -> None:
    assert symbol_of(Path(name)) == symbol


def test_the_check_finds_outliers_silence_and_who_came_and_went(tmp_path: Path) -> None:
    write_file(tmp_path / "BTCUSDT.parquet", random_bars(1, 500, "BTCUSDT"))
    odd = random_bars(2, 400, "ODDUSDT", start_ms=START_MS + 50 * HOUR_MS)
    close, volume = odd.close.copy(), odd.volume.copy()
    close[200] *= 10
    volume[7] = 0
    high = np.maximum(odd.high, close)
    write_file(
        tmp_path / "ODDUSDT.parquet",
        type(odd)("ODDUSDT", HOUR_MS, odd.start_ms, odd.open, high, odd.low, close, volume),
    )
    sound, found = check_folder(tmp_path)
    assert (sound.holes, sound.outliers, sound.listed_later, sound.ended_earlier) == ([], [], False, False)
    assert found.silent == 1
    assert found.outliers[0][0] == int(odd.start_ms[200])
    assert (found.listed_later, found.ended_earlier) == (True, True)
