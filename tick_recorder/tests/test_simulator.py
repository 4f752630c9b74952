"""The recorder on the simulated exchange: what both say of the same trades is the same, over a cut connection too."""

from pathlib import Path

import httpx

from tests.support.world import Simulator, until
from tick_recorder.schema import Kind
from tick_recorder.tests.compare import gaps, stored
from tick_recorder.tests.conftest import RecorderMaker

SYMBOLS = ("BTCUSDT", "ETHUSDT")
REPLAYED = {
    Kind.TRADES: ("ts", "id", "side", "price", "size"),
    Kind.BBO: ("ts", "bid_price", "bid_size", "ask_price", "ask_size"),
}


class _Addresses:
    """The simulated exchange in the place of the sender."""

    def __init__(self, simulator: Simulator) -> None:
        self.environment = simulator.environment


async def test_trades_of_the_simulated_exchange_are_stored_once_over_a_cut(
    recorder: RecorderMaker, tmp_path: Path
) -> None:
    simulator = Simulator(tmp_path, speed="60", seed=3, options=("--no-rate-limits", "--faults"))
    await simulator.start()
    try:
        recorder(_Addresses(simulator), ticks_streams="trades,bbo,depth")  # type: ignore[arg-type]

        async def more_than(count: int) -> bool:
            return len(stored(recorder.ticks, Kind.TRADES, "BTCUSDT")) > count

        await until(lambda: more_than(5), 30, "the first trades")
        async with httpx.AsyncClient(base_url=simulator.url) as client:
            cut = await client.post("/_sim/faults", json={"kind": "cut"})
            assert cut.status_code == 200, cut.text
            before = len(stored(recorder.ticks, Kind.TRADES, "BTCUSDT"))
            await until(lambda: more_than(before + 5), 30, "trades after the cut")
            asked = await client.get("/v5/market/recent-trade", params={"category": "linear", "symbol": "BTCUSDT"})
            newest = asked.json()["result"]["list"]
        frame = stored(recorder.ticks, Kind.TRADES, "BTCUSDT")
        assert frame["id"].n_unique() == len(frame)
        times: list[int] = frame["ts"].dt.timestamp("ms").to_list()
        answered = {str(row["execId"]): int(row["time"]) for row in newest}
        last = min(max(times), max(answered.values()))
        known = {name for name, ts in answered.items() if min(times) <= ts <= last}
        assert known == {name for name, ts in zip(frame["id"], times, strict=True) if ts <= last}
        assert gaps(recorder.ticks, Kind.TRADES, "BTCUSDT") == []
    finally:
        simulator.process.kill()


async def test_a_recording_that_is_replayed_gives_the_same_trades_and_quotes(
    recorder: RecorderMaker, tmp_path: Path
) -> None:
    """Recorded from the simulated exchange, replayed by it, recorded again."""
    step = ("--no-rate-limits", "--step", "--spread-ticks", "2")
    first, second = tmp_path / "first", tmp_path / "second"
    await _record(recorder, first, (*step, "--symbols", ",".join(SYMBOLS)), minutes=30)
    recorded = {kind: _rows(first, kind) for kind in REPLAYED}
    assert all(len(rows) > 100 for rows in recorded.values())
    await _record(recorder, second, (*step, "--ticks", str(first)), minutes=40, until_stored=recorded)
    for kind, rows in recorded.items():
        assert _rows(second, kind) == rows


async def _record(
    recorder: RecorderMaker,
    folder: Path,
    options: tuple[str, ...],
    *,
    minutes: int,
    until_stored: dict[Kind, list[tuple[object, ...]]] | None = None,
) -> None:
    """Records so many minutes of an exchange whose time stands still until the recorder listens."""
    simulator = Simulator(folder.parent, seed=3, options=options)

    async def heard() -> bool:
        return all(len(stored(folder, Kind.BBO, symbol)) for symbol in SYMBOLS)

    async def whole() -> bool:
        return all(len(_rows(folder, kind)) >= len(rows) for kind, rows in (until_stored or {}).items())

    await simulator.start()
    try:
        process = recorder(_Addresses(simulator), ticks_streams="trades,bbo", ticks_dir=str(folder))  # type: ignore[arg-type]
        await until(heard, 30, "the first quotes")
        async with httpx.AsyncClient(base_url=simulator.url, timeout=60) as client:
            advanced = await client.post("/_sim/advance", json={"bars": minutes})
            assert advanced.status_code == 200, advanced.text
        await until(whole, 30, "everything to be stored")
        assert process.stop() == 0
    finally:
        simulator.process.kill()


def _rows(folder: Path, kind: Kind) -> list[tuple[object, ...]]:
    """What both recordings must have alike."""
    return [(symbol, *row) for symbol in SYMBOLS for row in stored(folder, kind, symbol).select(REPLAYED[kind]).rows()]
