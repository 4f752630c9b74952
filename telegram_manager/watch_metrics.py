"""What only the command centre sees, as metrics: each bot's state, backups, the disk, the request budget."""

from datetime import datetime, timedelta
from typing import Protocol

from prometheus_client import Gauge

from alpha.bybit.rate_limiter import IP_PER_SECOND
from operations.context import Operations, redis_faults
from operations.recovery import Recovery
from operations.status import BotState, Status

BOT_WELL = Gauge("watch_bot_well", "1 while a bot runs, is paused, or was stopped by its operator.", ["bot"])
BACKUP_AGE = Gauge("watch_backup_age_seconds", "Age of the last good backup; of the first account while there is none.")
RECOVERABLE = Gauge(
    "watch_recoverable_age_seconds",
    "Age of the newest moment the log's archive can restore; -1 where there is no archive.",
)
DISK_FREE = Gauge("watch_disk_free_ratio", "Free part of the disk.")
BUDGET = Gauge("watch_request_budget_ratio", "Part of the budget of requests used in the last second.")
REFUSED = Gauge("watch_address_refused", "1 while Bybit refuses this address.")
#: As long as nothing has been archived.
_NEVER_S = 1e9
# until the first look there is nothing to page about
DISK_FREE.set(1)
RECOVERABLE.set(-1)


def note_bots(seen: Status) -> None:
    """Each bot's state."""
    for bot in seen.bots:
        wanted = bot.wish in ("stopped", "unknown")
        ill = bot.state is BotState.UNHEALTHY or (bot.state is BotState.STOPPED and not wanted)
        BOT_WELL.labels(bot.bot).set(0 if ill else 1)


def note_backup(good: datetime | None, since: datetime | None, now: datetime) -> None:
    """When the last good backup ended; `since` is when there was first anything to back up."""
    newest = good or since
    BACKUP_AGE.set((now - newest if newest is not None else timedelta(0)).total_seconds())


def note_recovery(found: Recovery) -> None:
    """To which moment the database can be brought back."""
    if found.archives:
        RECOVERABLE.set(_NEVER_S if found.age_s is None else found.age_s)
    else:
        RECOVERABLE.set(-1)


class Usage(Protocol):
    """What `shutil.disk_usage` answers."""

    @property
    def total(self) -> int:
        """Bytes of the disk."""
        ...

    @property
    def free(self) -> int:
        """Bytes that are free."""
        ...


def note_disk(usage: Usage) -> None:
    """How full the disk is."""
    DISK_FREE.set(usage.free / usage.total)


async def note_budget(platform: Operations) -> None:
    """The requests of the last second behind the unnamed address, and whether Bybit refuses it. Raises Retry."""
    async with redis_faults(platform.live):
        calls = await platform.live.shared.eval("return redis.call('ZCARD', KEYS[1])", 1, "throttle:ip")
        refused = await platform.live.shared.exists("throttle:ban")
    BUDGET.set(int(calls) / IP_PER_SECOND)
    REFUSED.set(1 if refused else 0)
