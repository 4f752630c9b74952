"""Alerts to where people are beside Telegram: ntfy, Discord, Slack, e-mail, PagerDuty, Pushover and others, by Apprise.

The notices are those of the alert policy (grouping, quiet hours, repeats until acknowledged), so that every channel says the same.
Each channel has a queue and a task of its own: one that hangs delays no other. One that does not deliver is an alert on the others.
Addresses hold secrets: nothing here logs or shows more of one than its scheme.
"""

import asyncio
import logging
import re
import warnings
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from html import unescape
from typing import Any, Protocol

import apprise

from alpha.alerts import Alert, Alerts, Level
from alpha.clock import wall_ms
from alpha.logs import logger
from telegram_manager.alert_policy import Notice

log = logger(__name__)
LEVELS = ("info", "warning", "critical")
#: Pauses between tries of one message, in seconds; after the last the channel counts as dead and the message is dropped.
PAUSES_S = (1.0, 5.0, 20.0)
#: Apprise has no limit of its own for all of its services, in seconds.
LIMIT_S = 30.0
#: Notices that wait for a channel; of more the oldest give way.
MOST_WAITING = 100
_TAG = re.compile(r"<[^>]*>")
# Apprise logs what a service answered, with parts of its address.
logging.getLogger("apprise").addHandler(logging.NullHandler())
logging.getLogger("apprise").propagate = False


class Notifier(Protocol):
    """What delivers one message."""

    def notify(self, body: str, title: str, notify_type: Any, **more: Any) -> bool:
        """True when the service has accepted the message; blocks."""


@dataclass(frozen=True, slots=True)
class ChannelAddress:
    """One entry of ALERT_URLS: `level` is the lowest that goes there. The repr shows no secret."""

    number: int
    level: str
    url: str

    def __repr__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """How the channel is called in messages: its scheme and its place in ALERT_URLS."""
        return f"{self.url.partition(':')[0][:20]} (ALERT_URLS number {self.number})"


def parse_urls(text: str) -> list[ChannelAddress]:
    """The channels of ALERT_URLS: addresses of Apprise, separated by blanks or line breaks, each with `LEVEL=` before it if
    it should get less than everything. ValueError, without the address, for what Apprise does not know.
    """
    found = []
    for number, entry in enumerate(text.split(), start=1):
        level, equals, url = entry.partition("=")
        if not equals or level.lower() not in LEVELS:
            level, url = "info", entry
        address = ChannelAddress(number, level.lower(), url)
        if "://" not in url or notifier(url) is None:
            scheme = url.partition("://")[0][:20] if "://" in url else "none"
            raise ValueError(
                f"number {number} is not an address that Apprise knows (scheme: {scheme}). "
                "Write it as ntfy://host/topic or critical=pover://user@token, separated by blanks"
            )
        found.append(address)
    return found


def notifier(url: str) -> Notifier | None:
    """The service behind an address; None when Apprise does not know it."""
    with warnings.catch_warnings():  # of modules that some of its services still use
        warnings.simplefilter("ignore")
        made: Notifier | None = apprise.Apprise.instantiate(url, suppress_exceptions=True)
    return made


async def send(service: Notifier, level: str, title: str, body: str) -> bool:
    """Deliver one message; False when it was refused, not reached, or took too long."""
    kinds = {"info": apprise.NotifyType.INFO, "warning": apprise.NotifyType.WARNING}
    kind = kinds.get(level, apprise.NotifyType.FAILURE)
    try:
        async with asyncio.timeout(LIMIT_S):
            return bool(await asyncio.to_thread(service.notify, body=body, title=title, notify_type=kind))
    except TimeoutError:
        return False
    except Exception as fault:  # noqa: BLE001 - a service's own code may raise anything, with its address in the text
        log.warning("channel_fault", fault=type(fault).__name__)
        return False


class Channel:
    """One address with its queue."""

    def __init__(self, address: ChannelAddress, own: Alerts, pauses_s: Sequence[float] = PAUSES_S) -> None:
        service = notifier(address.url)
        if service is None:
            raise ValueError(f"{address.name} is not an address that Apprise knows")
        self.address = address
        self._service = service
        self._own = own
        self._pauses_s = pauses_s
        self._waiting: deque[tuple[str, str]] = deque(maxlen=MOST_WAITING)
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.key = f"alert-channel:{address.number}"

    def put(self, notice: Notice) -> None:
        """Queue a notice, if its level goes here; never waits. That this very channel is dead it cannot tell itself."""
        if LEVELS.index(notice.level) < LEVELS.index(self.address.level):
            return
        if notice.alerts and all(alert.key == self.key for alert in notice.alerts):
            return
        self._waiting.append((notice.level, plain_text(notice.html)))
        self._idle.clear()
        self._news.set()

    async def run(self) -> None:
        """Deliver until cancelled, oldest first."""
        while True:
            self._news.clear()
            while self._waiting:
                level, text = self._waiting[0]
                delivered = await self._deliver(level, text)
                if self._waiting and self._waiting[0] == (level, text):
                    self._waiting.popleft()
                if not delivered:
                    await self._dead()
            self._idle.set()
            await self._news.wait()

    async def drained(self) -> None:
        """Return when nothing waits."""
        await self._idle.wait()

    async def _deliver(self, level: str, text: str) -> bool:
        for pause_s in (*self._pauses_s, None):
            if await send(self._service, level, f"Alpha: {level}", text):
                return True
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        return False

    async def _dead(self) -> None:
        log.warning("channel_dead", channel=self.address.name)
        text = f"Alerts do not reach {self.address.name}: it is not reached, or it refuses them. One was lost there."
        remedy = "Look at that entry of ALERT_URLS, then: alpha alert test."
        await self._own.raise_alert(Alert(Level.WARNING, self.key, text, remedy), wall_ms())


class OtherChannels:
    """All channels of ALERT_URLS."""

    def __init__(self, addresses: Sequence[ChannelAddress], own: Alerts, pauses_s: Sequence[float] = PAUSES_S) -> None:
        self._channels = [Channel(address, own, pauses_s) for address in addresses]

    def put(self, notice: Notice) -> None:
        """Queue a notice on every channel that takes its level."""
        for channel in self._channels:
            channel.put(notice)

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop`, then what waits, for a moment."""
        tasks = [asyncio.create_task(channel.run()) for channel in self._channels]
        try:
            await stop.wait()
            try:
                async with asyncio.timeout(3.0):
                    await asyncio.gather(*(channel.drained() for channel in self._channels))
            except TimeoutError:
                log.warning("alerts_not_delivered", channels=len(self._channels))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def plain_text(html: str) -> str:
    """A notice's HTML as plain text."""
    return unescape(_TAG.sub("", html))
