"""How much of recorded ticks is history for the demo's bots."""

from pathlib import Path

import pytest

from demo.stack import warmup_minutes


@pytest.mark.parametrize(("hours", "minutes"), [(0, 0), (1, 0), (2, 0), (10, 240), (200, 3_000)])
def test_half_of_the_whole_hours_is_history_and_fifty_at_most(tmp_path: Path, hours: int, minutes: int) -> None:
    for number in range(hours):
        for symbol in ("BTCUSDT", "ETHUSDT"):
            folder = tmp_path / "trades" / f"symbol={symbol}" / f"date=2025-01-{1 + number // 24:02}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number % 24:02}.000001.parquet").touch()
    assert warmup_minutes(tmp_path) == minutes
