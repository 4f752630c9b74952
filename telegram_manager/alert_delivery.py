"""Delivers alerts from the Redis stream to people: read, apply the alert policy, deliver, then persist the position."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
from redis.exceptions import RedisError

from alpha.alerts import Alerts
from alpha.clock import is_set_within
from alpha.errors import AlphaError, Rejected
from alpha.live_state.connect import REDIS_UNAVAILABLE
from alpha.logs import logger
from alpha.postgres.sql import queries
from operations.context import Operations
from telegram_manager.alert_policy import AlertPolicy, Notice, Raised
from telegram_manager.alert_stream import raised_here, read_alerts
from telegram_manager.audience import Audience
from telegram_manager.chat_ref import ChatRef
from telegram_manager.sender import TelegramSender
from telegram_manager.state_store import StateStore

SQL = queries(__file__)

log = logger(__name__)
STATE = "alerts"
#: A row of this name in audit.command_centre is an acknowledgement from the terminal, taken once.
FROM_TERMINAL = "acknowledge"
#: The key of an alert about an ordinary trade begins so.
TRADE_KEY = "trade:"


class AlertDelivery:
    """Runs until stopped. `own` holds this process's alerts: while Redis is unavailable they are delivered directly."""

    def __init__(
        self,
        platform: Operations,
        book: AlertPolicy,
        memory: StateStore,
        audience: Audience | None,
        letters: TelegramSender | None,
        own: Alerts,
        others: Callable[[Notice], None] | None = None,
    ) -> None:
        """`audience` and `letters` are None without Telegram; `others` gets every notice too and must not wait."""
        self._platform = platform
        self._others = others
        self._book = book
        self._memory = memory
        self._audience = audience
        self._letters = letters
        self._own = own
        self._told_here: set[tuple[str, int]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver alerts until `stop`; alerts already read are delivered and recorded first."""
        while not stop.is_set():
            try:
                await self.step(block_ms=500)
            except (*REDIS_UNAVAILABLE, RedisError):
                await self._alone_safely()
                await asyncio.sleep(0.5)
            except Exception:
                # an unexpected fault in one alert must not block the alerts behind it
                log.exception("unforeseen_fault", name="alerts")
                await asyncio.sleep(1.0)

    async def _alone_safely(self) -> None:
        try:
            await self.step_alone()
        except Exception:
            log.exception("unforeseen_fault", name="alerts without Redis")

    async def step(self, block_ms: int) -> None:
        """Read new alerts, deliver them, save the position. Raises Redis errors."""
        state = self._book.state
        alerts, position = await read_alerts(self._platform, state.position, block_ms)
        self._told_here.clear()
        told = await self._tell(alerts)
        if told or position != state.position:
            state.position = position
            await self._memory.save(STATE, state)

    async def step_alone(self) -> None:
        """Deliver this process's own alerts while Redis is unavailable.

        The policy recognises them when they later arrive through the stream.
        """
        fresh = [(alert, ms) for alert, ms in self._own.unsent if (alert.key, ms) not in self._told_here]
        self._told_here |= {(alert.key, ms) for alert, ms in fresh}
        if await self._tell([raised_here(alert, self._own.service, ms) for alert, ms in fresh]):
            await self._memory.save(STATE, self._book.state)

    async def acknowledge(self, who: str, ids: tuple[str, ...] = ()) -> int:
        """Acknowledge these alerts, or all pending ones, on behalf of a person; returns how many there were."""
        count = self._book.acknowledge(ids)
        if count:
            await self._memory.save(STATE, self._book.state)
            log.info("alerts_acknowledged", who=who, count=count)
        return count

    async def look_for_terminal(self) -> None:
        """Take an acknowledgement that `alpha alert ack` has left in the database."""
        taken = await self._platform.history.value(SQL["take_acknowledgement"], FROM_TERMINAL)
        if taken is not None:
            await self.acknowledge("alpha alert ack")

    async def _tell(self, alerts: list[Raised]) -> bool:
        """Deliver the notices that the policy produces; True if there were any."""
        notices = self._book.take(alerts, self._platform.wall_ms())
        for notice in notices:
            await self._deliver(notice)
        return bool(notices)

    async def _deliver(self, notice: Notice) -> None:
        if self._others is not None:
            self._others(notice)
        audience, letters = self._audience, self._letters
        if audience is None or letters is None:
            return
        people = audience.wanting(notice.level, self._platform.wall_ms())

        async def tell(person: int) -> None:
            html, quiet = _chosen(notice, audience, person)
            if not html:
                return
            data = f"a|{','.join(notice.ids)}"
            buttons = ((("👍 Acknowledge", data),),) if notice.ids and audience.may_acknowledge(person) else ()
            silent = notice.silent or notice.level == "info" or quiet
            try:
                await letters.say(ChatRef(person), html, buttons, silent=silent, life_s=None)
            except Rejected as fault:
                await audience.unreachable(person, str(fault))

        await asyncio.gather(*(tell(person) for person in people))


def _chosen(notice: Notice, audience: Audience, person: int) -> tuple[str, bool]:
    """What of a notice this person wants, by the bots of its alerts; empty for nothing. And whether without a sound.

    Critical alerts always come. Trades that are alerts for other channels reach people as news instead.
    """
    if notice.level == "critical" or len(notice.lines) != len(notice.alerts):
        return notice.html, False
    taste = audience.taste(person)
    how = [
        "off" if alert.key.startswith(TRADE_KEY) else taste.news_of("alerts", alert.bot, audience.default_news)
        for alert in notice.alerts
    ]
    kept = [line for line, each in zip(notice.lines, how, strict=True) if each != "off"]
    return "\n".join(kept), all(each != "on" for each in how if each != "off")


async def ask_every_minute(
    url: str, client: httpx.AsyncClient, well: Callable[[], bool], pause_s: float = 60.0
) -> None:
    """Request `url` every minute while healthy (outbound heartbeat): a host that is down cannot report itself."""
    while True:
        if well():
            try:
                answer = await client.get(url)
                if answer.status_code >= 400:
                    log.warning("heartbeat_failed", fault=f"it answered {answer.status_code}")
            except httpx.HTTPError as fault:
                log.warning("heartbeat_failed", fault=type(fault).__name__)
            except Exception:
                # a heartbeat that cannot be sent must not end the heartbeat loop
                log.exception("unforeseen_fault", name="heartbeat")
        await asyncio.sleep(pause_s)


async def forever(name: str, step: Callable[[], Awaitable[None]], pause_s: float, stop: asyncio.Event) -> None:
    """Repeat `step` until `stop`; expected failures are logged, once per kind, and retried."""
    last = ""
    while not stop.is_set():
        try:
            await step()
            last = ""
        except (AlphaError, RedisError, OSError) as fault:
            if str(fault) != last:
                log.warning("step_failed", name=name, fault=str(fault))
            last = str(fault)
        except Exception:
            # An unexpected fault in one watcher must not take the panic button away: log it and continue.
            log.exception("unforeseen_fault", name=name)
        await is_set_within(stop, pause_s)
