"""A second instance of a service waits and takes over when the first is killed or frozen; the frozen one ends when it thaws."""

import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.bot_harness import BotHarness, Servers
from tests.support.world import BOTS, Process, patience, until

pytestmark = [pytest.mark.timeout(300), pytest.mark.long]
#: Service to its role, its arguments, the query for whoever holds its lease, and the seconds that a takeover may take.
SERVICES = {
    "trade_sync_service": ("alpha_sync", ["-m", "trade_sync_service"], "service_leases", 8.0),
    "tick_recorder": ("alpha_ticks", ["-m", "tick_recorder"], "service_leases", 8.0),
    "analysis_service": ("alpha_analysis", ["-m", "analysis_service"], "service_leases", 8.0),
    "telegram_manager": ("alpha_c2", ["-m", "telegram_manager"], "service_leases", 8.0),
    "risk_guard": ("alpha_guard", ["-m", "risk_guard"], "guard_lease", 6.0),
}


@pytest.fixture
async def stage(tmp_path: Path, servers: Servers) -> AsyncIterator[BotHarness]:
    """The simulated exchange and an empty database."""
    made = BotHarness(tmp_path, servers=servers)
    await made.open()
    yield made
    made.close()


def instance(stage: BotHarness, service: str, number: int) -> Process:
    """One instance, not started yet."""
    role, arguments, _, _ = SERVICES[service]
    keys = {name: value for bot in BOTS for name, value in {**bot.environment(), **bot.reading()}.items()}
    more = {
        "ALPHA_STANDBY": "true",
        "HEALTH_PORT": "0",
        "TICKS_DIR": str(stage.folder / "ticks"),
        "BOT_CONTROL_URL": "unix:///no/such/socket",
        "GUARD_PATROL_S": "5",
    }
    return stage.process(f"{service}-{number}", arguments, {**stage.environment(role), **keys, **more})


@pytest.mark.parametrize("service", SERVICES)
async def test_a_second_instance_takes_over(stage: BotHarness, service: str) -> None:
    table, most_s = SERVICES[service][2:]
    first, second = instance(stage, service, 1), instance(stage, service, 2)

    async def holder() -> str:
        where = "WHERE name = $1" if table == "service_leases" else "WHERE $1 <> ''"
        rows = await stage.rows(
            f"SELECT holder FROM trading.{table} {where} AND expires_at > clock_timestamp()", service
        )
        return str(rows[0]["holder"]) if rows else ""

    async def held_by(process: Process, wait_s: float) -> float:
        began_s = time.monotonic()

        async def ours() -> bool:
            return f":{process.pid}:" in await holder()

        await until(ours, wait_s, f"{process.name} to lead; it said {process.said()[-1500:]}")
        return time.monotonic() - began_s

    first.start()
    await held_by(first, 60)
    second.start()

    async def waits() -> bool:
        return table != "service_leases" or "standby" in second.said()

    await until(waits, 60, "the second instance to wait")
    first.kill()
    killed_s = await held_by(second, 30)

    first.start()
    await until(waits, 60, "the first instance to wait")
    second.signal(signal.SIGSTOP)
    frozen_s = await held_by(first, 30)
    second.signal(signal.SIGCONT)
    if table == "service_leases":

        async def ended() -> bool:
            return not second.running

        await until(ended, 5, "the frozen instance to end")
        assert second.exit_code() != 0
    assert first.running
    assert max(killed_s, frozen_s) <= most_s * patience()
    sys.stdout.write(f"\n{service}: taken over {killed_s:.1f} s after a kill, {frozen_s:.1f} s after a freeze\n")
