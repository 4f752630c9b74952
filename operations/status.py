"""System status: each bot, its data, its positions and today's net; and the services."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from alpha.errors import AlphaError
from alpha.live_state.maintenance import MaintenanceState, read_maintenance
from alpha.live_state.read import Heartbeat, LiveStatus, read_heartbeat, read_status
from alpha.model.timestamp import ms_of
from alpha.registry import Bot
from bot_control import Process
from bot_control.interface import Unseen
from operations import history
from operations.business_time import business_now
from operations.context import Operations, redis_faults
from operations.positions import PositionRow, positions, total_unrealised, trusted, unrealised_by_coin

#: A strategy writes its heartbeat every few seconds; one older than this means that it is not alive.
HEARTBEAT_LIMIT = timedelta(seconds=60)
#: How long a bot may take until its first heartbeat.
START_LIMIT = timedelta(seconds=45)


class BotState(StrEnum):
    """A bot's state, in one word."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class BotStatus:
    """The status of one bot. `unrealised_pnl` and `today_net` are in USDT.

    None where the part of the system that knows the value is unavailable.

    `note` says what it is waiting for, or what is wrong with it, in one sentence.
    """

    bot: str
    state: BotState
    data: str
    data_age_s: float | None
    wish: str
    note: str
    positions: list[PositionRow]
    unrealised_pnl: Decimal | None
    today_net: Decimal | None
    today_trips: int | None
    #: The class of its strategy, by which many bots are grouped.
    strategy: str = ""
    #: The same two per settle coin.
    unrealised: Mapping[str, Decimal] | None = None
    today: Mapping[str, Decimal] | None = None


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One container or process that is not a bot."""

    service: str
    state: str
    healthy: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class Status:
    """The overall status. `faults` says what could not be read, one sentence each."""

    bots: list[BotStatus]
    services: list[ServiceStatus]
    halts: list[history.HaltRow]
    faults: list[str]
    business_time: datetime | None
    wall_time: datetime
    maintenance: MaintenanceState = field(default_factory=MaintenanceState)


async def status(platform: Operations, bot: Bot | None = None) -> Status:
    """Return the status of these bots. Never fails: unavailable parts are listed in `faults`, and the rest is shown."""
    own = platform.bots(bot)
    processes, recorded, announced, each_seen = await asyncio.gather(
        _processes(platform),
        _recorded(platform, bot),
        _announced(platform),
        asyncio.gather(*(_seen(platform, each) for each in own)),
    )
    faults = [str(part) for part in (processes, recorded.fault) if isinstance(part, AlphaError)]
    if isinstance(processes, AlphaError):
        processes = None
    wishes, halts, moment, today = recorded.wishes, recorded.halts, recorded.moment, recorded.today
    rows = []
    for each, seen in zip(own, each_seen, strict=True):
        live, heartbeat, open_positions = None, None, None
        if isinstance(seen, AlphaError):
            if str(seen) not in faults:
                faults.append(str(seen))
        else:
            live, heartbeat, open_positions = seen
        day = None if today is None else today.get(each.id, history.NO_TOTAL)
        wish = "unknown" if wishes is None else wishes.get(each.id, "running")
        process = (processes or {}).get(each.container)
        if open_positions is None and process is not None and process.running and wish != "stopped":
            state, note = BotState.UNKNOWN, "Its process is running; its state is unknown while Redis is unavailable."
        else:
            state, note = judge(processes is not None, process, wish, live, heartbeat, platform.wall_now())
        rows.append(
            BotStatus(
                bot=each.id,
                state=state,
                data=live.state.value if live is not None else "unknown",
                data_age_s=age_s(live, platform.wall_now()),
                wish=wish,
                note=note,
                positions=open_positions or [],
                unrealised_pnl=None if open_positions is None else total_unrealised(open_positions),
                today_net=None if day is None else day.net,
                today_trips=None if day is None else day.trips,
                strategy=each.strategy.rpartition(":")[2],
                unrealised=None if open_positions is None else unrealised_by_coin(open_positions),
                today=None if day is None else day.by_coin,
            )
        )
    containers = {each.container for each in platform.registry.bots}
    services = [
        ServiceStatus(p.container, p.state.value, p.healthy, p.detail)
        for p in (processes or {}).values()
        if p.container not in containers
    ]
    if isinstance(announced, AlphaError):
        if str(announced) not in faults:
            faults.append(str(announced))
        announced = MaintenanceState()
    return Status(rows, services, halts, faults, moment, platform.wall_now(), announced)


@dataclass(slots=True)
class _Recorded:
    """What PostgreSQL says, as far as it could be asked."""

    wishes: dict[str, str] | None = None
    halts: list[history.HaltRow] = field(default_factory=list)
    moment: datetime | None = None
    today: dict[str, history.DayTotal] | None = None
    fault: AlphaError | None = None


async def _recorded(platform: Operations, bot: Bot | None) -> _Recorded:
    found = _Recorded()
    try:
        found.wishes = await history.desired_states(platform)
        found.halts = [halt for halt in await history.halts(platform, bot) if halt.kind != history.BLACKLIST]
        found.moment = await business_now(platform, bot)
        found.today = await history.day_totals(platform, found.moment.date())
    except AlphaError as fault:
        found.fault = fault
    return found


async def _processes(platform: Operations) -> dict[str, Process] | AlphaError | None:
    """The processes by container; None where bot control sees none: live state alone says what runs."""
    try:
        return {process.container: process for process in await platform.control.list()}
    except Unseen:
        return None
    except AlphaError as fault:
        return fault


async def _announced(platform: Operations) -> MaintenanceState | AlphaError:
    try:
        async with redis_faults(platform.live):
            return await read_maintenance(platform.live.shared)
    except AlphaError as fault:
        return fault


async def _seen(
    platform: Operations, bot: Bot
) -> tuple[LiveStatus | None, Heartbeat | None, list[PositionRow]] | AlphaError:
    """What Redis says of one bot, or why it says nothing."""
    try:
        async with redis_faults(platform.live):
            live = await read_status(platform.live.of(bot), bot.id)
            heartbeat = await read_heartbeat(platform.live.of(bot), bot.id)
        return live, heartbeat, await positions(platform, bot)
    except AlphaError as fault:
        return fault


def judge(
    control_answers: bool,
    process: Process | None,
    wish: str,
    live: LiveStatus | None,
    heartbeat: Heartbeat | None,
    now: datetime,
) -> tuple[BotState, str]:
    """Derive a bot's state and the reason for it; `now` is wall-clock time."""
    beats = heartbeat is not None and heartbeat.age(now) <= HEARTBEAT_LIMIT
    if control_answers and (process is None or not process.running):
        if wish == "stopped":
            return BotState.STOPPED, "Stopped by an operator; /start starts it again."
        missing = "has no container" if process is None else f"is not running ({process.detail})"
        if wish == "unknown":
            return (
                BotState.STOPPED,
                f"It {missing}; whether an operator stopped it is unknown while PostgreSQL is unavailable.",
            )
        return BotState.STOPPED, f"It {missing} although it should: /start it, or look at /logs."
    if wish == "stopped":
        return BotState.STOPPED, "Stopped by an operator; its process is up and idle."
    starting = process is not None and process.started_at is not None and now - process.started_at < START_LIMIT
    if starting and not beats:
        return BotState.RUNNING, "It is starting."
    if process is not None and process.healthy is False and not starting:
        return BotState.UNHEALTHY, f"Its health check fails ({process.detail}): look at /logs."
    if heartbeat is None or not beats:
        if not control_answers and heartbeat is None:
            return BotState.UNKNOWN, "Neither bot control nor Redis knows of it."
        since = "never" if heartbeat is None else f"not for {heartbeat.age(now).total_seconds():.0f} s"
        return BotState.UNHEALTHY, f"Its strategy has shown no sign of life ({since}): look at /logs."
    if wish == "paused" or heartbeat.state == "paused":
        return BotState.PAUSED, heartbeat.waits_for or "No new entries; positions stay managed. /resume lifts it."
    if heartbeat.state == "starting":
        return BotState.RUNNING, f"It is starting and waits for {heartbeat.waits_for}."
    if heartbeat.state == "stopped":
        return BotState.RUNNING, "It is about to take up its work again."
    if not trusted(live):
        state = "unknown" if live is None else live.state.value
        return BotState.RUNNING, f"Its live data is {state}: no entries until it is synced."
    return BotState.RUNNING, f"Waits for {heartbeat.waits_for}." if heartbeat.waits_for else ""


def age_s(live: LiveStatus | None, now: datetime) -> float | None:
    """Seconds since the listener last heard from the exchange about this bot; by its counter while that is moving."""
    if live is not None and live.age_s is not None:
        return live.age_s
    if live is None or live.last_message_at is None:
        return None
    return max(0.0, (ms_of(now) - ms_of(live.last_message_at)) / 1000)
