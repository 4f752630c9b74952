"""The services of which one instance works and another waits, each as a pair: whoever holds the lease is killed or frozen."""

import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import asyncpg

from tests.ha.cluster import AWAY, Cluster
from tests.support.world import BOTS, ROOT, Process, until

#: Service to its role and the table of its lease.
SINGLETONS = {
    "risk_guard": ("alpha_guard", "guard_lease"),
    "trade_sync_service": ("alpha_sync", "service_leases"),
    "tick_recorder": ("alpha_ticks", "service_leases"),
    "telegram_manager": ("alpha_c2", "service_leases"),
}
#: The lease of a service lasts 5 s and is asked for twice a second; a busy machine takes its part.
TAKEOVER_S = 10.0
_WAIT_S = 60.0


class Pair:
    """Two instances of one service."""

    def __init__(self, service: str, cluster: Cluster, environment: Mapping[str, str], folder: Path) -> None:
        self.service = service
        self.role, self._table = SINGLETONS[service]
        self._cluster = cluster
        keys = {name: value for bot in BOTS for name, value in {**bot.environment(), **bot.reading()}.items()}
        own = {
            **environment,
            **keys,
            "POSTGRES_USER": self.role,
            "ALPHA_BOTS_FILE": str(ROOT / "bots.toml"),
            "ALPHA_STANDBY": "true",
            "HEALTH_PORT": "0",
            "TICKS_DIR": str(folder / "ticks"),
            "BOT_CONTROL_URL": "unix:///no/such/socket",
            # it watches only: what the accounts hold here is traded without stops, on purpose
            "GUARD_OBSERVE": "true",
        }
        self.processes = [Process(f"{service}-{number}", ["-m", service], own, folder) for number in (1, 2)]

    async def start(self) -> None:
        """Start both; returns when one holds the lease."""
        for process in self.processes:
            process.start()
        await self._held(self.processes)

    async def replaced(self, *, frozen: bool) -> float:
        """Kill or freeze whoever holds the lease; returns the seconds until the other one holds it."""
        holder = await self._held(self.processes)
        other = next(process for process in self.processes if process is not holder)
        began_s = time.monotonic()
        if frozen:
            holder.signal(signal.SIGSTOP)
        else:
            holder.kill()
        await self._held([other])
        return time.monotonic() - began_s

    async def mend(self) -> None:
        """Thaw and start again what was lost: a frozen one ends when it thaws, as a supervisor then starts it anew."""
        for process in self.processes:
            if process.running:
                process.signal(signal.SIGCONT)
        if self.service != "risk_guard":  # a guard that thaws waits again instead of ending

            async def one_left() -> bool:
                return sum(process.running for process in self.processes) <= 1

            await until(one_left, _WAIT_S, f"the frozen {self.service} to end")
        for process in self.processes:
            if not process.running:
                process.start()
        await self._held(self.processes)

    def kill(self) -> None:
        """End both."""
        for process in self.processes:
            process.kill()

    async def _held(self, processes: list[Process]) -> Process:
        found: list[Process] = []

        async def ours() -> bool:
            holder = await self._holder()
            found[:] = [each for each in processes if each.running and f":{each.pid}:" in holder]
            return bool(found)

        said = ", ".join(process.said()[-300:] for process in processes)
        await until(ours, _WAIT_S, f"one of {self.service} to hold its lease; they said {said}")
        return found[0]

    async def _holder(self) -> str:
        where = "WHERE name = $1" if self._table == "service_leases" else "WHERE $1 <> ''"
        try:
            connection = await self._cluster.connect()
        except AWAY:
            return ""
        try:
            sql = f"SELECT holder FROM trading.{self._table} {where} AND expires_at > clock_timestamp()"
            return str(await connection.fetchval(sql, self.service) or "")
        except (*AWAY, asyncpg.InternalClientError):
            return ""
        finally:
            connection.terminate()


def report(taken: Mapping[str, list[float]]) -> None:
    """Print the longest takeover of each fault."""
    for name, seconds in taken.items():
        sys.stdout.write(f"{name:28} taken over after {max(seconds):4.1f} s at most, {len(seconds)} times\n")
