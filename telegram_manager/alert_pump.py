"""From the alerts' stream to people: read, judged by the book, delivered, and only then remembered as taken."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import httpx
import msgspec
from redis.exceptions import RedisError

from alpha.errors import AlphaError, Rejected
from alpha.live import keys
from alpha.live.connect import AWAY
from alpha.logs import logger
from alpha.platform.context import Platform
from telegram_manager.alert_book import AlertBook, Notice, Raised
from telegram_manager.audience import Audience
from telegram_manager.letters import Letters
from telegram_manager.memory import Memory
from telegram_manager.place import Place

log = logger(__name__)
STATE = "alerts"
#: What was raised longer ago than this before the very first start is old news.
FIRST_LOOK_MS = 10 * 60_000
_WEBHOOK_TRIES = 4
_ACK = ((("👍 Acknowledge", "a"),),)


class Webhook:
    """The second channel: every alert as JSON to an address of the user's choice."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self._url = url
        self._client = client

    async def post(self, alerts: list[Raised]) -> None:
        """Post; tried four times, then given up with a line in the log. Never raises."""
        body = msgspec.json.encode({"alerts": alerts})
        for attempt in range(_WEBHOOK_TRIES):
            try:
                answer = await self._client.post(self._url, content=body, headers={"Content-Type": "application/json"})
                if answer.status_code < 400:
                    return
                fault = f"it answered {answer.status_code}"
            except httpx.HTTPError as error:
                fault = type(error).__name__
            await asyncio.sleep(0.5 * 4**attempt)
        log.warning("webhook_failed", fault=fault, alerts=len(alerts))


class AlertPump:
    """Runs for ever. `deliver` is None without Telegram: then the webhook and the log are all there is."""

    def __init__(
        self,
        platform: Platform,
        book: AlertBook,
        memory: Memory,
        audience: Audience | None,
        letters: Letters | None,
        webhook: Webhook | None,
    ) -> None:
        self._platform = platform
        self._book = book
        self._memory = memory
        self._audience = audience
        self._letters = letters
        self._webhook = webhook
        self._posts: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Pump until `stop`; what was taken by then is delivered and remembered."""
        while not stop.is_set():
            try:
                await self.step(block_ms=500)
            except (*AWAY, RedisError):
                await asyncio.sleep(0.5)

    async def step(self, block_ms: int) -> None:
        """Take what has come, deliver it, remember it."""
        state = self._book.state
        if not state.position:
            state.position = f"{max(0, self._platform.wall_ms() - FIRST_LOOK_MS)}-0"
        answer = await self._platform.live.shared.xread({keys.ALERTS: state.position}, count=200, block=block_ms)
        entries = answer[0][1] if answer else []
        alerts = [_read(fields) for _, fields in entries]
        notices = self._book.take([alert for alert in alerts if alert is not None], self._platform.wall_ms())
        for notice in notices:
            await self._deliver(notice)
        if entries:
            state.position = str(entries[-1][0])
        if entries or notices:
            await self._memory.save(STATE, state)

    async def acknowledge(self, who: str) -> int:
        """Acknowledge all that waits, in the name of a person; how many there were."""
        count = self._book.acknowledge()
        if count:
            await self._memory.save(STATE, self._book.state)
            log.info("alerts_acknowledged", who=who, count=count)
        return count

    async def _deliver(self, notice: Notice) -> None:
        if self._webhook is not None and not notice.repeats:
            post = asyncio.create_task(self._webhook.post(notice.alerts), name="webhook")
            self._posts.add(post)
            post.add_done_callback(self._posts.discard)
        if self._audience is None or self._letters is None:
            return
        people = self._audience.wanting(notice.level, self._platform.wall_ms())
        letters, audience = self._letters, self._audience

        async def tell(person: int) -> None:
            buttons = _ACK if notice.level == "critical" and audience.may_acknowledge(person) else ()
            try:
                await letters.say(Place(person), notice.html, buttons, silent=notice.level == "info", life_s=None)
            except Rejected as fault:
                log.warning("alert_not_delivered", person=person, fault=str(fault))

        await asyncio.gather(*(tell(person) for person in people))


def _read(fields: dict[str, str]) -> Raised | None:
    try:
        return msgspec.convert(fields, Raised, strict=False)
    except msgspec.ValidationError as fault:
        log.warning("alert_unreadable", fault=str(fault))
        return None


async def ask_every_minute(url: str, client: httpx.AsyncClient, well: Callable[[], bool]) -> None:
    """The outbound heartbeat: ask `url` every minute while all is well. A dead host cannot report itself."""
    while True:
        if well():
            try:
                await client.get(url)
            except httpx.HTTPError as fault:
                log.warning("heartbeat_failed", fault=type(fault).__name__)
        await asyncio.sleep(60.0)


async def forever(name: str, step: Callable[[], Awaitable[None]], pause_s: float, stop: asyncio.Event) -> None:
    """Do a step again and again until `stop`; what is foreseen to fail is logged, once a kind, and tried again."""
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
            # What nobody foresaw in a watcher must not take the panic button away: the log has it, the rest goes on.
            log.exception("unforeseen_fault", name=name)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause_s)
