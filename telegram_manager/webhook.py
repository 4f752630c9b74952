"""The second alert channel: posts alerts as JSON to an address of the user's choice.

It has its own position in the stream: an unavailable Telegram does not delay it, nor an unavailable webhook Telegram.
"""

import asyncio

import httpx
import msgspec
from redis.exceptions import RedisError

from alpha.alerts import Alert, Alerts, Level
from alpha.clock import SYSTEM_CLOCK, Backoff, is_set_within
from alpha.live_state.connect import REDIS_UNAVAILABLE
from alpha.logs import logger
from operations.context import Operations
from telegram_manager.alert_policy import AlertPolicy, Raised
from telegram_manager.alert_stream import read_alerts
from telegram_manager.state_store import StateStore

log = logger(__name__)
STATE = "webhook"
BACKOFF = Backoff(1.0, 60.0)


class Webhook:
    """Posts each new alert once, at any hour; retries until the address accepts it or refuses it (4xx)."""

    def __init__(
        self,
        platform: Operations,
        book: AlertPolicy,
        memory: StateStore,
        url: str,
        client: httpx.AsyncClient,
        own: Alerts | None = None,
    ) -> None:
        """`own` receives the alert raised when the address refuses a post."""
        self._own = own
        self._platform = platform
        self._book = book
        self._memory = memory
        self._url = url
        self._client = client

    async def run(self, stop: asyncio.Event) -> None:
        """Post until `stop`."""
        while not stop.is_set():
            try:
                await self.step(stop, block_ms=500)
            except (*REDIS_UNAVAILABLE, RedisError):
                await asyncio.sleep(0.5)
            except Exception:
                log.exception("unforeseen_fault", name="webhook")
                await asyncio.sleep(1.0)

    async def step(self, stop: asyncio.Event, block_ms: int) -> None:
        """Read new alerts, post them, save the position."""
        state = self._book.state
        alerts, position = await read_alerts(self._platform, state.position, block_ms)
        notices = self._book.take(alerts, self._platform.wall_ms())
        news = [alert for notice in notices if not notice.repeats for alert in notice.alerts]
        if news and not await self._post(news, stop):
            return
        if position != state.position:
            state.position = position
            await self._memory.save(STATE, state)

    async def _post(self, alerts: list[Raised], stop: asyncio.Event) -> bool:
        """Post until settled: True; False if `stop` came first."""
        body = msgspec.json.encode({"alerts": alerts})
        failures = 0
        while True:
            try:
                answer = await self._client.post(self._url, content=body, headers={"Content-Type": "application/json"})
                if answer.status_code < 400:
                    return True
                fault = f"it answered {answer.status_code}"
                if answer.status_code < 500 and answer.status_code not in (408, 429):
                    log.error("webhook_refused", fault=fault, alerts=len(alerts))
                    if self._own is not None:
                        text = f"The webhook refused {len(alerts)} alert{'s' if len(alerts) > 1 else ''}: {fault}."
                        alert = Alert(Level.WARNING, "webhook-refused", text, "Look at C2_WEBHOOK_URL.")
                        await self._own.raise_alert(alert, self._platform.wall_ms())
                    return True
            except httpx.HTTPError as error:
                fault = type(error).__name__
            log.warning("webhook_not_reached", fault=fault, alerts=len(alerts))
            failures += 1
            if await is_set_within(stop, BACKOFF.pause_s(failures, SYSTEM_CLOCK.random())):
                return False
