"""The short form of the flood; at length: `python -m tests.benchmarks.bench_ticks`."""

from pathlib import Path

from tests.benchmarks.bench_ticks import flood, writing
from tick_recorder.schema import Kind


async def test_a_flood_over_33_symbols_is_stored_once(tmp_path: Path) -> None:
    found = await flood([(5_000, 2.0), (1_000, 1.0)], tmp_path)
    assert sum(found["stored"].values()) == 11_000
    assert found["stored"][Kind.TRADES] > found["stored"][Kind.BBO] > 2_000
    # 256 MB may wait, and polars has its own
    assert found["most_mb"] < 700, found


def test_the_files_are_not_much_larger_than_a_bare_write(tmp_path: Path) -> None:
    assert writing(60_000, tmp_path, part_s=12, journal_s=3)["bytes_ratio"] <= 1.2
