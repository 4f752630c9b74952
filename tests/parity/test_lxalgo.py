"""LXAlgo's trades in a back-test are its trades live, over the same candles: sizes, prices, times, reasons, balance."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from exchange_simulator.market.catalogue import DEFAULT_SYMBOLS
from tests.parity.instruments import with_instruments
from tests.parity.replay import Play, generate, play_back, play_live

DAY_BARS = 288
WARM_UP_DAYS = 5


def _play(folder: Path, start: datetime, bars: int, **parameters: str) -> Play:
    return Play(
        bot_id="lxalgo_001",
        strategy="lxalgo",
        prefix="LXALGO",
        folder=folder,
        start=start,
        bars=bars,
        bar_ms=300_000,
        path="low-first",
        parameters=parameters,
        warmup=WARM_UP_DAYS * DAY_BARS,
    )


@pytest.mark.slow
async def test_half_a_day_of_generated_candles_gives_the_same_trades_live_and_in_the_back_test(tmp_path: Path) -> None:
    begin = datetime(2025, 1, 1, tzinfo=UTC)
    symbols = DEFAULT_SYMBOLS[8:14]
    generate(tmp_path / "made", symbols, "5", begin, begin + timedelta(days=6), seed=3)
    play = _play(
        with_instruments(tmp_path / "made", tmp_path / "candles"),
        begin + timedelta(days=5),
        144,
        min_turnover_usdt="33500000",
        refresh_hours="1",
        rsi_period="14",
        min_pump_pct="0.7",
        stop="0.006",
        take_profit="0.02",
        trailing_activation="0.008",
        trailing_distance="0.004",
        break_even="0.005",
        losing_hours="1",
        max_hours="4",
        bucket_hours="1",
        size_usdt="8000",
        open_profit_arm="0.005",
    )
    back, _ = play_back(play)
    live = await play_live(play, tmp_path)
    # Its turnover is too small at the start; it belongs to the universe from the seventh hour on.
    assert "BCHUSDT" in {trade.symbol for trade in back.trades}
    assert len(back.trades) >= 8
    assert len({trade.reason for trade in back.trades}) >= 4
    assert live == back


def _amplify(folder: Path, power: float) -> None:
    """Raise every price, as a multiple of the first, to a power: the same market with larger moves."""
    for path in sorted(folder.iterdir()):
        header, *lines = path.read_text().splitlines()
        rows = [line.split(",") for line in lines]
        first, digits = float(rows[0][1]), len(rows[0][1].partition(".")[2])
        for row in rows:
            row[1:5] = [f"{first * (float(price) / first) ** power:.{digits}f}" for price in row[1:5]]
        path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")


@pytest.mark.long
@pytest.mark.timeout(3_600)
async def test_fifty_pumps_give_the_same_trades_live_and_in_the_back_test(tmp_path: Path) -> None:
    begin = datetime(2025, 1, 1, tzinfo=UTC)
    generate(tmp_path / "made", DEFAULT_SYMBOLS[12:18], "5", begin, begin + timedelta(days=15), seed=3)
    _amplify(tmp_path / "made", 6.0)
    folder = with_instruments(tmp_path / "made", tmp_path / "candles")
    play = _play(folder, begin + timedelta(days=WARM_UP_DAYS), 10 * DAY_BARS)
    back, _ = play_back(play)
    live = await play_live(play, tmp_path)
    assert len(back.trades) >= 50
    assert len({trade.reason for trade in back.trades}) >= 4
    assert live == back
