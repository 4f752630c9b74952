"""The cache of candle files changes the time and nothing else."""

from pathlib import Path

import numpy as np
import pytest

from alpha.errors import Misconfigured
from backtester import candle_cache
from backtester.candle_files import read_file, write_file
from backtester.candles import COLUMNS, column
from tests.support.toy_strategies import HOUR_MS, START_MS, random_bars


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(candle_cache.VARIABLE, str(tmp_path / "cache"))
    write_file(tmp_path / "XUSDT.parquet", random_bars(1, 300))
    return tmp_path / "XUSDT.parquet"


@pytest.mark.parametrize(
    ("first", "last"), [(None, None), (100, None), (None, 200), (100, 200), (400, 500), (-50, 10), (-50, -10)]
)
def test_a_range_of_a_cached_file_is_the_range_of_the_file(
    path: Path, first: int | None, last: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_ms = None if first is None else START_MS + first * HOUR_MS
    to_ms = None if last is None else START_MS + last * HOUR_MS
    read_file(path, "XUSDT")
    assert candle_cache.cached(candle_cache.content_name(path), "XUSDT") is not None
    mapped = read_file(path, "XUSDT", from_ms=from_ms, to_ms=to_ms)
    monkeypatch.setenv(candle_cache.VARIABLE, "off")
    parsed = read_file(path, "XUSDT", from_ms=from_ms, to_ms=to_ms)
    assert mapped.start_ms.tolist() == parsed.start_ms.tolist()
    assert mapped.interval_ms == parsed.interval_ms
    for name in COLUMNS:
        assert column(mapped, name).tolist() == column(parsed, name).tolist()


def test_a_changed_file_is_read_anew_and_a_damaged_cache_is_passed_over(path: Path, tmp_path: Path) -> None:
    before = read_file(path, "XUSDT")
    write_file(path, random_bars(2, 300))
    after = read_file(path, "XUSDT")
    assert not np.array_equal(before.close, after.close)
    for file in (tmp_path / "cache").iterdir():
        file.write_bytes(b"nonsense")
    assert read_file(path, "XUSDT").close.tolist() == after.close.tolist()


def test_a_file_with_a_fault_is_refused_every_time(tmp_path: Path, path: Path) -> None:
    broken = tmp_path / "YUSDT.csv"
    broken.write_text("start_ms,open,high,low,close,volume\n0,1,1,1,1,1\n60000,1,1,2,1,1\n")
    for _ in range(2):
        with pytest.raises(Misconfigured, match="line 3"):
            read_file(broken, "YUSDT")
