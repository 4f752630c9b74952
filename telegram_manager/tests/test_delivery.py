"""Pushed messages: alerts per channel, the daily summary at its time, the outbound heartbeat, trade events."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from aiohttp import web

from alpha.alerts import Alert, Alerts, Level
from alpha.clock import wall_ms
from alpha.live_state.connect import RedisClients
from alpha.model.timestamp import ms_of
from alpha.postgres.database import connect
from alpha.postgres.fills import Fill, insert_fills
from alpha.registry import Bot
from demo.processes import Supervisor
from demo.redis import EmbeddedRedis
from operations import control
from operations.context import Operations
from telegram_manager.alert_delivery import AlertDelivery, ask_every_minute
from telegram_manager.alert_policy import AlertPolicy, AlertPolicyState
from telegram_manager.audience import AlertPreferences
from telegram_manager.daily_summary import DailySummary
from telegram_manager.state_store import StateStore
from telegram_manager.tests.conftest import ADMIN, OPERATOR, SECOND_ADMIN, VIEWER, Centre
from telegram_manager.trade_events import TradeEvents
from telegram_manager.webhook import Webhook
from tests.support.bot_api import BotApi
from tests.support.operations import as_role

LONG_MS = 1 << 60
BERLIN = ZoneInfo("Europe/Berlin")


class Address:
    """An HTTP server on 127.0.0.1 that records its requests and responds with the given statuses."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.answers: deque[int] = deque()
        self.asked = 0
        self.came = asyncio.Event()
        self.url = ""

    async def open(self) -> web.AppRunner:
        """Start listening."""
        app = web.Application()
        app.router.add_route("*", "/hook", self._take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        return runner

    async def _take(self, request: web.Request) -> web.Response:
        status = self.answers.popleft() if self.answers else 200
        self.asked += 1
        if status == 200 and request.method == "POST":
            self.got += (await request.json())["alerts"]
        self.came.set()
        return web.Response(status=status)

    async def until(self, count: int) -> None:
        """Wait for `count` requests."""
        while self.asked < count:
            self.came.clear()
            await self.came.wait()


@pytest.fixture
async def address() -> AsyncIterator[Address]:
    made = Address()
    runner = await made.open()
    yield made
    await runner.cleanup()


def _pump(centre: Centre, own: Alerts, platform: Operations | None = None) -> AlertDelivery:
    book = AlertPolicy(AlertPolicyState(), 600_000, UTC)
    return AlertDelivery(
        platform or centre.platform, book, StateStore(centre.platform), centre.setup.audience, centre.setup.letters, own
    )


async def test_the_webhook_has_its_alerts_while_telegram_is_away(centre: Centre, api: BotApi, address: Address) -> None:
    alerts = Alerts(centre.platform.live.shared, "tests")
    stop = asyncio.Event()
    async with httpx.AsyncClient() as client:
        hook = Webhook(
            centre.platform,
            AlertPolicy(AlertPolicyState(), LONG_MS, UTC),
            StateStore(centre.platform),
            address.url,
            client,
        )
        port = int(api.url.rpartition(":")[2])
        await api.close()
        pump = asyncio.create_task(_pump(centre, alerts).run(stop))
        posting = asyncio.create_task(hook.run(stop))
        for number in range(3):
            # independently: while Telegram is unavailable the first is still being sent there when the last is posted
            await alerts.raise_alert(Alert(Level.CRITICAL, f"t:{number}", f"Trouble {number}."), wall_ms())
            await address.until(number + 1)
        assert [row["key"] for row in address.got] == ["t:0", "t:1", "t:2"]
        assert not any("Trouble" in said.text for said in api.said)
        await api.open(port)
        await api.until(lambda m: m.chat == ADMIN and "Trouble 2" in m.text)
        stop.set()
        await asyncio.gather(pump, posting)


async def test_the_webhook_is_tried_again_until_it_takes_an_alert_and_never_twice(
    platform: Operations, address: Address
) -> None:
    alerts = Alerts(platform.live.shared, "tests")
    stop = asyncio.Event()
    address.answers.extend([503, 500])
    async with httpx.AsyncClient() as client:
        hook = Webhook(
            platform, AlertPolicy(AlertPolicyState(), LONG_MS, UTC), StateStore(platform), address.url, client
        )
        await alerts.raise_alert(Alert(Level.INFO, "a", "First."), wall_ms())
        await hook.step(stop, block_ms=1)
        assert (address.asked, [row["key"] for row in address.got]) == (3, ["a"])
        # an alert that it refuses (4xx) is dropped; later ones are still posted
        address.answers.append(400)
        await alerts.raise_alert(Alert(Level.INFO, "b", "Second."), wall_ms())
        await hook.step(stop, block_ms=1)
        await alerts.raise_alert(Alert(Level.INFO, "c", "Third."), wall_ms())
        await hook.step(stop, block_ms=1)
        assert [row["key"] for row in address.got] == ["a", "c"]
        # a restart begins after the last settled alert
        state = await StateStore(platform).load("webhook", AlertPolicyState, AlertPolicyState)
        again = Webhook(platform, AlertPolicy(state, LONG_MS, UTC), StateStore(platform), address.url, client)
        await again.step(stop, block_ms=1)
        assert address.asked == 5


async def test_a_webhook_that_refuses_is_an_alert_once(platform: Operations, address: Address) -> None:
    alerts = Alerts(platform.live.shared, "tests")
    address.answers.extend([404, 404])
    async with httpx.AsyncClient() as client:
        book = AlertPolicy(AlertPolicyState(), LONG_MS, UTC)
        hook = Webhook(platform, book, StateStore(platform), address.url, client, alerts)
        await alerts.raise_alert(Alert(Level.INFO, "a", "First."), wall_ms())
        for _ in range(4):
            await hook.step(asyncio.Event(), block_ms=1)
    rows = await platform.live.shared.xrange("alerts")
    assert [fields["key"] for _, fields in rows][:2] == ["a", "webhook-refused"]
    # the alert about the refusal is posted once, is refused too, and goes no further
    assert address.asked == 2


async def test_without_redis_the_alerts_of_the_command_centre_come_all_the_same_and_once(
    centre: Centre, redis_server: EmbeddedRedis
) -> None:
    away = RedisClients(redis_server.settings().model_copy(update={"redis_port": 1}))
    own = Alerts(away.shared, "telegram_manager")
    pump = _pump(centre, own, replace(centre.platform, live=away))
    stop = asyncio.Event()
    running = asyncio.create_task(pump.run(stop))
    await own.raise_alert(Alert(Level.CRITICAL, "away:redis", "Redis does not answer."), wall_ms())
    for person in (ADMIN, SECOND_ADMIN, OPERATOR, VIEWER):
        await centre.api.until(lambda m, person=person: m.chat == person and "Redis does not answer" in m.text)  # type: ignore[misc]
    # Redis is back, and the buffered alert arrives through the stream: it is already known
    own._redis = centre.platform.live.shared
    pump._platform = centre.platform
    await own.flush()
    await own.raise_alert(Alert(Level.WARNING, "next", "Something else."), wall_ms())
    await centre.api.until(lambda m: m.chat == VIEWER and "Something else" in m.text)
    stop.set()
    await running
    assert len([said for said in centre.api.to(ADMIN) if "Redis does not answer" in said.text]) == 1
    await away.close()


class Hands:
    """A clock that stands still until it is set."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def __call__(self) -> int:
        return ms_of(self.moment)


def _summary(centre: Centre, clock: Hands) -> DailySummary:
    platform = replace(centre.platform, wall_ms=clock, zone=BERLIN)
    setup = centre.setup
    return DailySummary(platform, StateStore(platform), setup.audience, setup.letters, setup.painter, time(8, 0))


def _summaries(centre: Centre, person: int) -> int:
    return len([said for said in centre.api.to(person) if said.kind == "text" and "Daily summary" in said.text])


async def test_the_daily_summary_comes_once_a_day_at_its_time_in_the_operators_zone(centre: Centre) -> None:
    # 05:30 UTC is 07:30 in Berlin in summer
    clock = Hands(datetime(2025, 6, 1, 5, 30, tzinfo=UTC))
    await _summary(centre, clock).look()
    assert _summaries(centre, ADMIN) == 0
    clock.moment += timedelta(minutes=29)
    await _summary(centre, clock).look()
    assert _summaries(centre, ADMIN) == 0
    clock.moment += timedelta(minutes=1)
    for _ in range(3):
        # each run as after a restart: only stored state is known
        await _summary(centre, clock).look()
    assert [_summaries(centre, person) for person in (ADMIN, SECOND_ADMIN, OPERATOR, VIEWER)] == [1, 1, 1, 1]
    assert any(said.kind == "photo" for said in centre.api.to(VIEWER))
    clock.moment += timedelta(hours=23)
    await _summary(centre, clock).look()
    assert _summaries(centre, ADMIN) == 1
    # missed at eight because the command centre was down: it is sent late
    clock.moment += timedelta(hours=3)
    await _summary(centre, clock).look()
    await _summary(centre, clock).look()
    assert _summaries(centre, ADMIN) == 2


async def test_the_very_first_start_after_its_time_sends_no_summary_of_the_past(centre: Centre) -> None:
    clock = Hands(datetime(2025, 6, 1, 9, 0, tzinfo=UTC))
    await _summary(centre, clock).look()
    await _summary(centre, clock).look()
    assert _summaries(centre, ADMIN) == 0


async def test_who_has_alerts_off_gets_no_summary_and_who_wants_only_critical_ones_does(centre: Centre) -> None:
    await centre.setup.audience.set_taste(OPERATOR, AlertPreferences(on=False))
    await centre.setup.audience.set_taste(VIEWER, AlertPreferences(level="critical"))
    clock = Hands(datetime(2025, 6, 1, 5, 0, tzinfo=UTC))
    await _summary(centre, clock).look()
    clock.moment += timedelta(hours=1)
    await _summary(centre, clock).look()
    assert [_summaries(centre, person) for person in (ADMIN, OPERATOR, VIEWER)] == [1, 0, 1]


async def test_a_summary_waits_while_telegram_is_away_and_whoever_has_it_gets_no_second(
    centre: Centre, api: BotApi
) -> None:
    clock = Hands(datetime(2025, 6, 1, 5, 0, tzinfo=UTC))
    await _summary(centre, clock).look()
    clock.moment += timedelta(hours=1)
    port = int(api.url.rpartition(":")[2])
    await api.close()
    looking = asyncio.create_task(_summary(centre, clock).look())
    while not await centre.platform.history.value(
        "SELECT count(*) FROM audit.command_centre WHERE name = 'daily_summary' AND state ->> 'day' = '2025-06-01'"
    ):
        await asyncio.sleep(0.01)
    await api.open(port)
    # killed once the first person has it; the next process sends it to the others
    while not (have := await _have(centre)):
        await asyncio.sleep(0.01)
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    await _summary(centre, clock).look()
    people = (ADMIN, SECOND_ADMIN, OPERATOR, VIEWER)
    assert [_summaries(centre, person) for person in have] == [1] * len(have)
    # only the person it was being sent to may receive it twice
    assert sum(_summaries(centre, person) for person in people) <= len(people) + 1
    assert set(await _have(centre)) == set(people)


async def _have(centre: Centre) -> list[int]:
    found: list[int] = await centre.platform.history.value(
        "SELECT state -> 'told' FROM audit.command_centre WHERE name = 'daily_summary'"
    )
    return found


async def test_the_heartbeat_is_asked_again_and_again_while_all_is_well_and_not_while_it_is_not(
    address: Address,
) -> None:
    well = True
    asked = 0

    def is_well() -> bool:
        nonlocal asked
        asked += 1
        return well

    address.answers.extend([200, 500, 200])
    async with httpx.AsyncClient() as client:
        beating = asyncio.create_task(ask_every_minute(address.url, client, is_well, pause_s=0.01))
        # a 500 response does not end it
        await address.until(4)
        well = False
        judged = asked
        while asked < judged + 2:
            await asyncio.sleep(0.005)
        silent_from = address.asked
        while asked < judged + 10:
            await asyncio.sleep(0.005)
        assert address.asked == silent_from
        well = True
        await address.until(silent_from + 1)
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)


async def add_trades(
    platform: Operations, bot: str, symbol: str, number: int, count: int = 1, exit_price: str = "1.90", legs: int = 2
) -> None:
    """Insert round trips of a bot, a minute apart, newer than all history, like the listener; one leg: entries only."""
    account = await platform.history.value("SELECT account_id FROM trading.accounts WHERE bot_id = $1", bot)
    connection = await connect(as_role(platform.history._settings, "alpha_listener"), "tests")
    fills = []
    for trip in range(number, number + count):
        for leg, (side, price, reason) in enumerate(
            (("Sell", "2.00", "entry"), ("Buy", exit_price, "take_profit"))[:legs]
        ):
            moment = datetime(2025, 6, 1, 10, 0, 10 * leg, tzinfo=UTC) + timedelta(minutes=trip)
            name = f"{bot}{trip}-{leg}"
            fills.append(
                Fill(account, bot, "linear", symbol, name, name, None, side, "Trade", reason, Decimal(price), Decimal(100),
                     Decimal(price) * 100, Decimal("0.10"), "USDT", Decimal(0), None, None, False, 9_000_000 + 2 * trip + leg,
                     moment, moment)
            )  # fmt: skip
    await insert_fills(connection, fills)
    await connection.close()


def platform_state(news: TradeEvents) -> str:
    """The last reported state of the short seller."""
    return news._state.states.get("shortseller_001", "")


async def until_so(news: TradeEvents, done: Callable[[], bool]) -> None:
    """Poll until `done`."""
    while not done():
        await news.look()
        await asyncio.sleep(0.02)


async def test_the_last_trade_of_a_quiet_bot_is_told_once_however_much_another_trades(platform: Operations) -> None:
    told: list[tuple[str, str]] = []

    async def tell(bot: Bot, lines: list[str]) -> None:
        told.extend((bot.id, line) for line in lines if "XRPUSDT" in line or "DOGEUSDT" in line)

    def news() -> TradeEvents:
        return TradeEvents(
            platform, StateStore(platform), Alerts(platform.live.shared, "tests"), tell, 0, every_trade=False
        )

    first = news()
    await first.load()
    await first.look()
    assert told == []
    await add_trades(platform, "shortseller_001", "XRPUSDT", 0)
    await first.look()
    for batch in range(6):
        await add_trades(platform, "momentum_001", "DOGEUSDT", batch * 100, 100)
        await first.look()
    again = news()
    await again.load()
    await again.look()
    assert [line.split()[1] for bot, line in told if bot == "shortseller_001"] == ["Entered", "Left"]
    assert [line.split()[1] for bot, line in told if bot == "momentum_001"] == ["Entered", "Left"] * 600


async def test_a_bots_channel_is_told_of_entries_exits_and_pauses(platform: Operations, supervisor: Supervisor) -> None:
    told: list[str] = []

    async def tell(bot: Bot, lines: list[str]) -> None:
        told.extend(line for line in lines if bot.id == "shortseller_001")

    news = TradeEvents(
        platform, StateStore(platform), Alerts(platform.live.shared, "tests"), tell, 0, every_trade=False
    )
    await supervisor.start("shortseller")
    await news.load()
    await until_so(news, lambda: platform_state(news) == "running")
    told.clear()
    await add_trades(platform, "shortseller_001", "XRPUSDT", 0, legs=1)
    await news.look()
    assert told == ["🔵 Entered XRPUSDT short 100 at 2."]
    await add_trades(platform, "shortseller_001", "XRPUSDT", 0)
    await news.look()
    assert [line.split()[1] for line in told] == ["Entered", "Left"]
    told.clear()
    await control.pause(platform, platform.registry.find("shortseller"), "tests")
    await until_so(news, lambda: bool(told))
    assert "is now <b>paused</b>" in told[0]
