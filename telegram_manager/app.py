"""Assembles the service: stores first, then Telegram, alerts, channels and the health watch, concurrently."""

import asyncio
from collections.abc import Awaitable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from telegram.error import InvalidToken, TelegramError

from alpha.alerts import Alert, Alerts, Level
from alpha.clock import SYSTEM_CLOCK, Backoff, monotonic_ms, wall_ms
from alpha.config.loader import load
from alpha.errors import Misconfigured, Retry
from alpha.health import Check, HealthServer
from alpha.logs import configure, logger
from alpha.process import LoopPulse
from operations.context import Operations, open_operations
from telegram_manager import webhook
from telegram_manager.alert_delivery import STATE, AlertDelivery, ask_every_minute, forever
from telegram_manager.alert_policy import AlertPolicy, AlertPolicyState
from telegram_manager.channels import Channels
from telegram_manager.daily_summary import DailySummary, Digest
from telegram_manager.dashboard_news import DashboardNews
from telegram_manager.dispatcher import UpdateDispatcher
from telegram_manager.health_watch import HealthWatch
from telegram_manager.metric_alerts import MetricAlerts
from telegram_manager.news import News
from telegram_manager.poller import Poller
from telegram_manager.proposals import Proposals
from telegram_manager.session_commands import SessionCommands
from telegram_manager.settings import CommandCentreSettings, clock_time
from telegram_manager.state_store import StateStore
from telegram_manager.trade_events import TradeEvents
from telegram_manager.webhook import Webhook
from telegram_manager.wiring import Setup, first_offset, introduce, make_desk, make_poller, report_interrupted, set_up

if TYPE_CHECKING:
    from telegram_manager.other_channels import OtherChannels

log = logger(__name__)
SERVICE = "telegram_manager"
_BACKOFF = Backoff(1.0, 30.0)
#: How long to wait for the stores at startup.
STORES_WAIT_S = 60.0
#: Unhealthy when Telegram has not answered for longer than this.
DEAF_MS = 120_000
#: Unhealthy when the stores have been unavailable for longer than this; and the timeout of a store check.
BLIND_MS, STORES_S = 30_000, 5.0
WATCH_S, LOOK_AROUND_S, NEWS_S, SUMMARY_S, FLUSH_S, ACK_S, PROPOSALS_S, DASHBOARD_S = (
    5.0,
    300.0,
    2.0,
    30.0,
    10.0,
    3.0,
    5.0,
    2.0,
)
METRICS_S = 15.0
CLOSE_WAIT_S = 5.0
#: The webhook gets each alert once: it repeats nothing and has no quiet hours.
NEVER_MS = 1 << 60


async def main(stop: asyncio.Event, pulse: LoopPulse) -> None:
    """Run until `stop`. Raises Misconfigured for bad settings or tokens, Retry if the stores do not come up."""
    settings = load(CommandCentreSettings)
    configure(SERVICE, settings)
    async with open_operations(settings, SERVICE) as platform:
        memory = StateStore(platform)
        state = await _patiently(memory.load(STATE, AlertPolicyState, AlertPolicyState), platform, memory)
        await CommandCentre(platform, settings, memory, state).run(stop, pulse)


async def _patiently(
    first: Coroutine[Any, Any, AlertPolicyState], platform: Operations, memory: StateStore
) -> AlertPolicyState:
    """Wait for PostgreSQL and Redis, up to STORES_WAIT_S."""
    deadline = monotonic_ms() + STORES_WAIT_S * 1000
    question: Awaitable[AlertPolicyState] = first
    while True:
        try:
            state = await question
            await platform.live.check()
            return state
        except Retry:
            if monotonic_ms() > deadline:
                raise
            await asyncio.sleep(1.0)
            question = memory.load(STATE, AlertPolicyState, AlertPolicyState)


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Retry as fault:
        log.warning("painter_not_ready", fault=str(fault))


class CommandCentre:
    """Runs all parts and reports their health."""

    def __init__(
        self, platform: Operations, settings: CommandCentreSettings, memory: StateStore, state: AlertPolicyState
    ) -> None:
        self._platform = platform
        self._settings = settings
        self._memory = memory
        self._book = AlertPolicy(
            state,
            settings.c2_alert_repeat_minutes * 60_000,
            platform.zone,
            settings.quiet(),
            settings.c2_alert_level,
        )
        self._alerts = Alerts(platform.live.shared, SERVICE)
        self._poller: Poller | None = None
        self._started_ms = monotonic_ms()
        self._stores_ms = monotonic_ms()
        self._health: HealthServer | None = None

    async def run(self, stop: asyncio.Event, pulse: LoopPulse) -> None:
        """Run until `stop`, or until a part fails."""
        self._health = HealthServer(self._settings, pulse, self._checks())
        setup: Setup | None = None
        if self._settings.c2_telegram_bot_token is not None:
            setup = await set_up(self._platform, self._settings, self._memory)
        channels = Channels(
            self._platform.registry, self._settings.c2_telegram_api_url, self._token(), Path(".env"), self._alerts
        )
        await channels.open()
        desks: list[UpdateDispatcher] = []
        async with httpx.AsyncClient(timeout=15) as client:
            steady = await self._steady(setup, channels, stop)
            pump: AlertDelivery | None = None
            others = self._other_channels()
            if others is not None:
                steady["other channels"] = others.run(stop)
            if setup is not None:
                setup.audience.report_to(self._alerts)
            if setup is not None or others is not None:
                pump = AlertDelivery(
                    self._platform,
                    self._book,
                    self._memory,
                    None if setup is None else setup.audience,
                    None if setup is None else setup.letters,
                    self._alerts,
                    None if others is None else others.put,
                )
                steady["alerts"] = pump.run(stop)
                steady["acknowledgements"] = forever("acknowledgements", pump.look_for_terminal, ACK_S, stop)
            if self._settings.c2_webhook_url is not None:
                steady["webhook"] = (await self._webhook(client)).run(stop)
            if self._settings.prometheus_url is not None:
                metrics = MetricAlerts(str(self._settings.prometheus_url), client, self._alerts, self._book.end)
                steady["metrics"] = forever("metrics", lambda: metrics.look(wall_ms()), METRICS_S, stop)
            at_once: dict[str, Coroutine[Any, Any, None]] = {}
            if self._settings.c2_heartbeat_url is not None:
                at_once["heartbeat"] = ask_every_minute(
                    self._settings.c2_heartbeat_url.get_secret_value(), client, self._is_well
                )
            if setup is not None and pump is not None:
                at_once["telegram"] = self._telegram(setup, pump, desks)
            log.info("started", health_port=self._health.port, telegram=setup is not None)
            finishing = [asyncio.create_task(part, name=name) for name, part in steady.items()]
            ending = [asyncio.create_task(part, name=name) for name, part in at_once.items()]
            stopping = asyncio.create_task(stop.wait(), name="stop")
            try:
                done, _ = await asyncio.wait([*finishing, *ending, stopping], return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                # accept no new work, then let running work finish, so that nothing is sent twice after a restart
                stop.set()
                for task in ending:
                    task.cancel()
                for desk in desks:
                    await desk.close(CLOSE_WAIT_S)
                await asyncio.wait(finishing, timeout=CLOSE_WAIT_S)
                for task in (*finishing, stopping):
                    task.cancel()
                await asyncio.wait([*finishing, *ending, stopping], timeout=CLOSE_WAIT_S)
                await self._memory.flush()
                await channels.close()
                if setup is not None:
                    await setup.close()
                self._health.close()

    async def _steady(
        self, setup: Setup | None, channels: Channels, stop: asyncio.Event
    ) -> dict[str, Coroutine[Any, Any, None]]:
        """The parts that run step by step; each ends after its current step."""
        people: News | None = None
        if setup is not None:
            setup.audience.default_news = self._settings.news()
            people = News(self._platform, setup.audience, setup.letters, self._memory, self._settings.quiet())
        watch = HealthWatch(
            self._platform,
            self._alerts,
            self._settings.c2_alert_drawdown_pct,
            ended=self._book.end,
            known=lambda: self._book.open_keys(self._alerts.service),
        )
        news = TradeEvents(
            self._platform,
            self._memory,
            self._alerts,
            channels.tell,
            self._settings.c2_alert_loss_usdt,
            every_trade=self._settings.c2_alert_fills,
            news=None if people is None else people.tell,
        )
        await news.load()
        parts = {
            "watch": forever("watch", watch.look, WATCH_S, stop),
            "look around": forever("look around", watch.look_around, LOOK_AROUND_S, stop),
            "news": forever("news", news.look, NEWS_S, stop),
            "flush": forever("flush", self._flush, FLUSH_S, stop),
            "stores": forever("stores", self._ask_stores, STORES_S, stop),
        }
        if people is not None:
            parts["held news"] = forever("held news", people.look, SUMMARY_S, stop)
        if setup is not None and self._settings.c2_daily_summary_at:
            summary = DailySummary(
                self._platform,
                self._memory,
                setup.audience,
                setup.letters,
                setup.painter,
                clock_time(self._settings.c2_daily_summary_at),
                tuple(self._settings.c2_summaries.split(",")),
            )
            parts["summary"] = forever("summary", summary.look, SUMMARY_S, stop)
        if setup is not None and self._settings.c2_digest_at:
            digest = Digest(
                self._platform,
                self._memory,
                setup.audience,
                setup.letters,
                setup.painter,
                clock_time(self._settings.c2_digest_at),
            )
            parts["digest"] = forever("digest", digest.look, SUMMARY_S, stop)
        if setup is not None:
            parts["proposals"] = forever("proposals", Proposals(self._platform, setup).look, PROPOSALS_S, stop)
        if setup is not None and self._settings.dashboard_steering:
            from_dashboard = DashboardNews(self._platform, setup, self._memory, self._settings.roles())
            parts["dashboard news"] = forever("dashboard news", from_dashboard.look, DASHBOARD_S, stop)
        return parts

    def _other_channels(self) -> "OtherChannels | None":
        """The channels of ALERT_URLS; None without any."""
        urls = self._settings.alert_urls
        if urls is None:
            return None
        from telegram_manager.other_channels import OtherChannels, parse_urls  # heavy, and only needed with addresses

        return OtherChannels(parse_urls(urls.get_secret_value()), self._alerts)

    async def _webhook(self, client: httpx.AsyncClient) -> Webhook:
        """The second alert channel; it keeps its own record of what it has posted."""
        url = self._settings.c2_webhook_url
        state = await self._memory.load(webhook.STATE, AlertPolicyState, AlertPolicyState)
        book = AlertPolicy(state, NEVER_MS, self._platform.zone, None, self._settings.c2_alert_level)
        address = url.get_secret_value() if url else ""
        return Webhook(self._platform, book, self._memory, address, client, self._alerts)

    async def _telegram(self, setup: Setup, pump: AlertDelivery, desks: list[UpdateDispatcher]) -> None:
        """Answer people, as soon as Telegram can be reached."""
        # starting the chart process is slow on a loaded machine: only a request for a picture waits for it
        warming = asyncio.create_task(_quietly(setup.painter.open()), name="warm the painter")
        failures = 0
        while True:
            try:
                await setup.bot.initialize()
                await introduce(setup)
                break
            except InvalidToken:
                raise Misconfigured(
                    "Telegram refuses C2_TELEGRAM_BOT_TOKEN. Ask @BotFather for the right one."
                ) from None
            except TelegramError as fault:
                log.warning("telegram_not_reached", fault=fault.message)
                failures += 1
                await asyncio.sleep(_BACKOFF.pause_s(failures, SYSTEM_CLOCK.random()))

        async def gate_changed() -> None:
            await self._memory.save("gate", setup.gate.state)

        own = SessionCommands(
            self._platform,
            setup.letters,
            setup.gate,
            setup.audience,
            self._settings.c2_telegram_access_code_hash,
            pump.acknowledge,
            gate_changed,
            self._settings,
        )
        desk = make_desk(self._platform, self._settings, setup, own)
        desks.append(desk)
        self._poller = make_poller(setup, desk, self._token_refused)
        reporting = asyncio.create_task(report_interrupted(setup), name="report of what was cut off")
        try:
            await self._poller.run(await first_offset(setup))
        finally:
            reporting.cancel()
            warming.cancel()

    async def _token_refused(self, text: str) -> None:
        """Report the refused token through the webhook and the health check; everything else continues."""
        await self._alerts.raise_alert(Alert(Level.CRITICAL, "telegram-token", text, "Then restart me."), wall_ms())

    def _token(self) -> str | None:
        token = self._settings.c2_telegram_bot_token
        return None if token is None else token.get_secret_value()

    async def _flush(self) -> None:
        await self._alerts.flush()
        await self._memory.flush()

    def _checks(self) -> dict[str, Check]:
        return {"telegram": self._deaf, "stores": self._blind}

    async def _ask_stores(self) -> None:
        await self._platform.live.check()
        await self._platform.history.value("SELECT 1")
        self._stores_ms = monotonic_ms()

    def _blind(self) -> str | None:
        """Why no query can be answered: PostgreSQL or Redis does not respond. None if both do."""
        away_ms = monotonic_ms() - self._stores_ms
        return f"PostgreSQL or Redis has not answered for {away_ms // 1000} s." if away_ms > BLIND_MS else None

    def _deaf(self) -> str | None:
        """Why Telegram cannot be reached, if it should be. None otherwise."""
        if self._settings.c2_telegram_bot_token is None:
            return None
        heard = self._started_ms
        fault = "It has not answered yet."
        if self._poller is not None:
            heard = self._poller.heard_ms or self._started_ms
            fault = self._poller.fault or fault
        silent_s = (monotonic_ms() - heard) / 1000
        return f"Telegram has not been heard for {silent_s:.0f} s. {fault}" if silent_s * 1000 > DEAF_MS else None

    def _is_well(self) -> bool:
        return self._health is not None and not self._health.faults()
