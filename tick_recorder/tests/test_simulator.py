"""The recorder on the simulated exchange: what both say of the same trades is the same, over a cut connection too."""

from pathlib import Path

import httpx

from tests.support.world import Simulator, until
from tick_recorder.schema import Kind
from tick_recorder.tests.compare import gaps, stored
from tick_recorder.tests.conftest import RecorderMaker


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
