"""Several bots in one process: each with its own account, keys, lease, state and limits; strategy code in workers.

A bot that ends in a fault is named and begins anew after a pause; the others go on. `/stop` and `/start` act through the desired
state, which is read once a second: nobody stops the process for one of its bots.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from alpha.alerts import Alert, Alerts, Level
from alpha.clock import is_set_within, wall_ms
from alpha.config.gates import refuse_live
from alpha.config.keys import BotKeys, load_keys
from alpha.config.loader import chosen_env_file
from alpha.errors import AlphaError, Misconfigured
from alpha.health import HealthServer
from alpha.live_state.connect import RedisClients
from alpha.logs import logger
from alpha.postgres.bounded_database import BoundedDatabase
from alpha.postgres.database import POSTGRES_ERRORS
from alpha.postgres.drift import keep_drift
from alpha.postgres.sql import queries
from alpha.process import LoopPulse, end_tasks
from alpha.registry import Bot
from alpha.strategy.parameters import read_environment
from bot_runner import heartbeat
from bot_runner.app import BotProcess, SharedConnections
from bot_runner.settings import BotSettings
from bot_runner.strategy_worker import StrategyWorker

SQL = queries(__file__)

log = logger(__name__)
#: How often the desired states are read.
DESIRED_S = 1.0
#: Pauses before a bot that ended in a fault begins anew; the last one repeats.
PAUSES_S = (1.0, 2.0, 5.0, 15.0, 60.0)
#: A bot that has traded for so long counts as well again.
WELL_S = 600.0
#: How long the bots of an ending process may take.
END_S = 12.0
_QUERIES, _LEASES = 6, 4


@dataclass(slots=True)
class Member:
    """One bot of the process."""

    bot: Bot
    keys: BotKeys | None
    variables: dict[str, str]
    #: Why it does not trade now; empty while it does.
    fault: str = ""
    faults: int = 0
    process: BotProcess | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    #: Set when the desired state has changed.
    wanted: bool = True


def members_of(settings: BotSettings, bots: Sequence[Bot]) -> list[Member]:
    """The bots with their keys. One without a key, or whose key is refused, is named and left out; Misconfigured when all are."""
    environment = read_environment(chosen_env_file())
    found = []
    for bot in bots:
        prefix = f"{bot.prefix}_"
        variables = {
            name: value
            for name, value in environment.items()
            if name.startswith(prefix) and not name.startswith((f"{prefix}BYBIT_", f"{prefix}TELEGRAM_"))
        }
        try:
            keys = load_keys(bot)
            refuse_live(settings, keys, bot)
            found.append(Member(bot, keys, variables))
        except AlphaError as fault:
            log.warning("bot_left_out", bot=bot.id, why=str(fault).splitlines()[0])
            found.append(Member(bot, None, variables, fault=str(fault).splitlines()[0]))
    if not any(member.keys for member in found):
        raise Misconfigured(f"No bot of this container has a usable key. {found[0].fault}")
    return found


class SharedRunner:
    """The process of a shared container."""

    def __init__(self, settings: BotSettings, container: str, members: Sequence[Member]) -> None:
        self._settings = settings
        self._members = members
        self._shared = SharedConnections(
            RedisClients(settings),
            BoundedDatabase(settings, container, max_size=_QUERIES),
            BoundedDatabase(
                settings,
                f"{container} lease",
                max_size=_LEASES,
                timeout_s=max(1.0, settings.alpha_lease_seconds / 2),
            ),
        )
        self._alerts = Alerts(self._shared.redis.shared, container)
        self._ending = False
        self._stop = asyncio.Event()

    async def run(self, stop: asyncio.Event, pulse: LoopPulse) -> None:
        """Until `stop`. Positions stay as they are, with their stops on the exchange."""
        self._stop = stop
        health = HealthServer(self._settings, pulse, {"bots": self._fault}, details=self.details)
        watching = asyncio.create_task(self._watch_desired())
        drift = asyncio.create_task(keep_drift(self._settings, self._members[0].bot.container))
        keeping = [asyncio.create_task(self._keep(member, member.keys)) for member in self._members if member.keys]
        log.info("runner_started", bots=[member.bot.id for member in self._members if member.keys])
        try:
            ending = asyncio.create_task(stop.wait())
            await asyncio.wait({ending, watching, *keeping}, return_when=asyncio.FIRST_COMPLETED)
            for task in (watching, *keeping):
                if task.done():
                    await task
            ending.cancel()
        finally:
            self._ending = True
            for member in self._members:
                member.stop.set()
            watching.cancel()
            if keeping:
                await asyncio.wait(keeping, timeout=END_S)
            await end_tasks([drift, *keeping], 2.0)
            health.close()
            await self._shared.queries.close()
            await self._shared.leases.close()
            await self._shared.redis.close()

    async def _watch_desired(self) -> None:
        """Stop and start each bot as the operator or the guard wants it."""
        by_id = {member.bot.id: member for member in self._members}
        while True:
            try:
                rows = await self._shared.queries.fetch(SQL["wishes"], list(by_id))
            except POSTGRES_ERRORS:
                rows = []
            for row in rows:
                member = by_id[row["bot_id"]]
                wanted = row["wish"] != "stopped"
                if member.wanted and not wanted:
                    log.info("bot_stops", bot=member.bot.id, why="its desired state")
                    member.stop.set()
                member.wanted = wanted
            await asyncio.sleep(DESIRED_S)

    async def _keep(self, member: Member, keys: BotKeys) -> None:
        """Run one bot again and again until the process ends."""
        structlog.contextvars.bind_contextvars(bot=member.bot.id)
        heart = heartbeat.HeartbeatWriter(self._shared.redis.of(member.bot), member.bot.id)
        while not self._ending:
            if not member.wanted:
                await heart.beat(heartbeat.STOPPED, "the operator to start it")
                await asyncio.sleep(DESIRED_S)
                continue
            member.stop = asyncio.Event()
            began_s = time.monotonic()
            try:
                await self._trade(member, keys)
                member.fault, member.faults = "", 0
                if not member.stop.is_set():
                    await asyncio.sleep(DESIRED_S)
                continue
            except AlphaError as fault:
                member.fault = str(fault)
            except Exception as fault:
                # whatever it is concerns this bot; the others go on
                log.exception("bot_fault")
                member.fault = f"{type(fault).__name__}: {fault}"[:300]
                await self._say(member)
            if time.monotonic() - began_s > WELL_S:
                member.faults = 0
            pause_s = PAUSES_S[min(member.faults, len(PAUSES_S) - 1)]
            member.faults += 1
            log.warning("bot_ended", why=member.fault, again_in_s=pause_s)
            await heart.beat(heartbeat.STARTING, f"its next start in {pause_s:g} s, after a fault: {member.fault}")
            await is_set_within(self._stop, pause_s)

    async def _trade(self, member: Member, keys: BotKeys) -> None:
        worker = StrategyWorker(member.bot, member.variables, self._settings.alpha_strategy_deadline_s)
        try:
            strategy = await worker.load()
            member.process = BotProcess(self._settings, member.bot, keys, strategy, self._shared)
            member.fault = ""
            await member.process.trade(member.stop)
        finally:
            member.process = None
            await worker.close()

    async def _say(self, member: Member) -> None:
        bot = member.bot
        text = f"{bot.name} ended in a fault and begins anew: {member.fault}"
        remedy = "Look at the container's log and report it."
        alert = Alert(Level.CRITICAL, f"{bot.id}:ended", text, remedy, bot.id, lasting=True)
        await self._alerts.raise_alert(alert, wall_ms())

    # -- health ------------------------------------------------------------------------------------------------------

    def _fault(self) -> str | None:
        """A sentence when no bot of the process is well: one bot's fault must not count as the container's."""
        faults = [f"{member.bot.id}: {fault}" for member in self._members if (fault := self._fault_of(member))]
        return None if len(faults) < len(self._members) else "; ".join(faults)[:1000]

    def _fault_of(self, member: Member) -> str | None:
        if member.fault or member.process is None:
            return member.fault or None
        return member.process.fault()

    def details(self) -> dict[str, object]:
        """State of each bot: healthy, stopped, or its fault."""
        return {
            member.bot.id: self._fault_of(member) or ("well" if member.process is not None else "stopped")
            for member in self._members
        }
