"""The services of which one instance works and another waits, each as a pair: whoever holds the lease is killed or frozen."""

import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import asyncpg

from tests.ha.cluster import AWAY, Cluster, Wire
from tests.support.world import Process, until

#: The container of the bots that run as a pair.
PACK = "pack"
_OF_SERVICE = (
    "SELECT string_agg(DISTINCT holder, ' ') FROM trading.{table} WHERE {which} AND expires_at > clock_timestamp() "
    "HAVING count(*) >= {least}"
)


@dataclass(frozen=True, slots=True)
class Kind:
    """What runs as a pair: its role, its arguments, its lease, and in how many seconds that is taken over."""

    role: str
    arguments: tuple[str, ...]
    table: str
    takeover_s: float = 10.0
    which: str = "$1 <> ''"
    #: How many leases it has.
    least: int = 1
    #: Whether one that was frozen or cut off ends by itself, to be started anew by a supervisor.
    ends: bool = True


#: The lease of a service lasts 5 s and is asked for twice a second.
SINGLETONS = {
    "risk_guard": Kind("alpha_guard", ("-m", "risk_guard"), "guard_lease", ends=False),
    "trade_sync_service": Kind("alpha_sync", ("-m", "trade_sync_service"), "service_leases", which="name = $1"),
    "tick_recorder": Kind("alpha_ticks", ("-m", "tick_recorder"), "service_leases", which="name = $1"),
    "telegram_manager": Kind("alpha_c2", ("-m", "telegram_manager"), "service_leases", which="name = $1"),
    "bots": Kind(
        "alpha_strategy", ("-m", "bot_runner"), "bot_leases",
        which="bot_id LIKE 'many_%' AND $1 <> ''", least=7, ends=False,
    ),
}  # fmt: skip
_WAIT_S = 60.0


class Pair:
    """Two instances of one service, each behind a wire of its own."""

    def __init__(
        self, service: str, cluster: Cluster, environment: Mapping[str, str], folder: Path, wires: Sequence[Wire]
    ) -> None:
        self.service = service
        self.kind = SINGLETONS[service]
        self._cluster = cluster
        own = {**environment, "POSTGRES_USER": self.kind.role, "ALPHA_STANDBY": "true", "HEALTH_PORT": "0"}
        self.processes = [
            Process(f"{service}-{number}", list(self.kind.arguments), {**own, **wire.environment()}, folder)
            for number, wire in enumerate(wires, start=1)
        ]
        self._wires = dict(zip((process.name for process in self.processes), wires, strict=True))

    async def start(self) -> None:
        """Start both, the second when the first works."""
        first, second = self.processes
        first.start()
        await self._held([first])
        second.start()

    async def replaced(self, how: str) -> tuple[Process, float]:
        """Kill, freeze or cut off whoever holds the lease; returns it and the seconds until the other one holds it."""
        holder = await self._alone()
        other = next(process for process in self.processes if process is not holder)
        began_s = time.monotonic()
        if how == "paused":
            holder.signal(signal.SIGSTOP)
        elif how == "cut off":
            self._wires[holder.name].stand_still()
        else:
            holder.kill()
        await self._held([other])
        return holder, time.monotonic() - began_s

    async def _alone(self) -> Process:
        """Who holds every lease; on a crowded machine bots move to the other instance one by one, and are gathered again."""
        if not await self._holding(self.processes):
            first, second = self.processes
            second.kill()
            await self._held([first])
            second.start()
        return await self._held(self.processes)

    def exchange_of(self, process: Process) -> str:
        """Host and port by which this instance knows the exchange."""
        return self._wires[process.name].exchange

    async def mend(self) -> None:
        """Thaw, connect and start again what was lost: most end when they thaw, and a supervisor starts them anew."""
        for process in self.processes:
            self._wires[process.name].heal()
            if process.running:
                process.signal(signal.SIGCONT)
        if self.kind.ends:

            async def one_left() -> bool:
                return sum(process.running for process in self.processes) <= 1

            await until(one_left, _WAIT_S, f"the {self.service} that has lost its lease to end")
        self.supervise()
        await self._alone()

    def supervise(self) -> None:
        """Start whoever has ended: an outage of PostgreSQL takes a service its lease, and a supervisor starts it anew."""
        for process in self.processes:
            if not process.running:
                process.start()

    def kill(self) -> None:
        """End both."""
        for process in self.processes:
            process.kill()

    async def _held(self, processes: list[Process]) -> Process:
        """Wait until one of these holds the lease, alone."""
        found: list[Process] = []

        async def ours() -> bool:
            found[:] = await self._holding(processes)
            return bool(found)

        try:
            await until(ours, _WAIT_S, f"one of {self.service} to hold its lease")
        except AssertionError as late:
            said = "; ".join(process.said()[-300:] for process in processes)
            raise AssertionError(
                f"{late}; it is held by {await self._holders() or 'nobody'}; they said {said}"
            ) from None
        return found[0]

    async def _holding(self, processes: list[Process]) -> list[Process]:
        """Whoever of these holds every lease."""
        holders = (await self._holders()).split()
        return [
            each for each in processes if each.running and holders and all(f":{each.pid}:" in one for one in holders)
        ]

    async def _holders(self) -> str:
        try:
            connection = await self._cluster.connect()
        except AWAY:
            return ""
        try:
            sql = _OF_SERVICE.format(table=self.kind.table, which=self.kind.which, least=self.kind.least)
            return str(await connection.fetchval(sql, self.service) or "")
        except (*AWAY, asyncpg.InternalClientError):
            return ""
        finally:
            connection.terminate()


def report(seconds: Mapping[str, Mapping[str, list[float]]]) -> None:
    """Print the median and the longest of what was measured of each fault."""
    for name, by_what in seconds.items():
        told = [f"{what} {median(values):.1f} / {max(values):.1f} s" for what, values in by_what.items() if any(values)]
        sys.stdout.write(f"{name:28} {', '.join(told)} (median / most of {len(by_what['trading again'])})\n")
