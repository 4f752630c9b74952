"""Bybit's announced maintenance: watched over the public status stream and REST, told 60 and 10 minutes before, shown to all.

Interruptions below ten seconds are not announced.
"""

import asyncio
import time

import msgspec
from redis.exceptions import RedisError

from alpha.alerts import Alert, Alerts, Level
from alpha.bybit.client import Gateway
from alpha.bybit.connect_budget import ConnectBudget
from alpha.bybit.connection import Handlers
from alpha.bybit.decode import parse_system_status
from alpha.bybit.hosts import Hosts
from alpha.bybit.messages import UNREADABLE, Envelope
from alpha.bybit.models import SystemStatus
from alpha.bybit.stream import Connecting, Stream, Watch
from alpha.clock import wall_ms
from alpha.errors import AlphaError, Rejected, Retry
from alpha.live_state.client import TextRedis
from alpha.live_state.maintenance import MaintenanceWindow, write_maintenance
from alpha.logs import logger
from alpha.model.exchange_profile import profile_of
from alpha.model.timestamp import at
from websocket_listener.settings import ListenerSettings
from websocket_listener.tickers import MayWrite

log = logger(__name__)
TOPIC = "system.status"
#: Alerts come so many minutes before a window begins.
BEFORE_MIN = (60, 10)
_LOOK_S = 1.0
_OVER = ("completed", "canceled", "cancelled")
_rows = msgspec.json.Decoder(list[object])


class MaintenanceWatch:
    """Knows the announced windows."""

    def __init__(
        self,
        hosts: Hosts,
        settings: ListenerSettings,
        budget: ConnectBudget,
        shared: TextRedis,
        gateway: Gateway,
        alerts: Alerts,
        may_write: MayWrite,
    ) -> None:
        """`may_write` raises Retry while another listener keeps what is public: then that one tells."""
        self._may_write = may_write
        self._shared = shared
        self._gateway = gateway
        self._alerts = alerts
        self._ask_s = profile_of(hosts.environment).maintenance_every_s
        self.windows: dict[str, MaintenanceWindow] = {}
        self._told: dict[str, set[str]] = {}
        self._written: object = None
        self._heard_ms = 0
        self._heard_s = 0.0
        self.stream = Stream(
            "status",
            hosts.status_ws,
            Handlers(self._data, lambda _frame, fault: log.info("status_unreadable", why=fault)),
            Watch(lambda: None, lambda _why: None, lambda why: log.info("status_stream_refused", why=why)),
            topics=(TOPIC,),
            all_topics_needed=False,
            connecting=Connecting(timing=settings.stream_timing, budget=budget),
        )

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.stream.run())
            tasks.create_task(self._ask())
            tasks.create_task(self._keep())

    async def _ask(self) -> None:
        while True:
            try:
                self.take(await self._gateway.system_status())
            except AlphaError as fault:
                # in the window itself the exchange may answer nothing; the stream and the clock tell the rest
                log.info("status_not_read", why=str(fault)[:200])
            await asyncio.sleep(self._ask_s)

    async def _keep(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_S)

    def _data(self, envelope: Envelope, frame: str | bytes) -> None:
        try:
            found = [parse_system_status(row) for row in _rows.decode(envelope.data)]
        except (Rejected, *UNREADABLE) as fault:
            log.info("status_unreadable", why=str(fault)[:200])
            return
        self.take(found)

    def take(self, rows: list[SystemStatus]) -> None:
        """Take what was announced; a window that is over or taken back is forgotten."""
        for row in rows:
            if row.state.lower() in _OVER or row.begin_ms is None:
                if row.id in self.windows:
                    self._told.setdefault(row.id, set()).add("ended")
            else:
                self.windows[row.id] = MaintenanceWindow(row.id, row.title, row.begin_ms, row.end_ms)

    def now_ms(self) -> int | None:
        """The exchange's time; while it sends none, this machine's clock goes on from the last one. None before the first."""
        business = self._gateway.business
        if business.known and business.now_ms() > self._heard_ms:
            self._heard_ms, self._heard_s = business.now_ms(), time.monotonic()
        return None if not self._heard_ms else self._heard_ms + round((time.monotonic() - self._heard_s) * 1000)

    async def look(self) -> None:
        """Raise due alerts and write announced windows. Retried while Redis is unavailable."""
        now_ms = self.now_ms()
        if now_ms is None:
            return
        try:
            await self._may_write()
        except Retry:
            return
        for window in list(self.windows.values()):
            told = self._told.setdefault(window.id, set())
            if window.over(now_ms) or "ended" in told:
                del self.windows[window.id]
                del self._told[window.id]
                if "begun" in told:
                    await self._tell(Level.INFO, f"{window.id}:over", f"Bybit's maintenance ({window.title}) is over.")
                continue
            await self._announce(window, told, now_ms)
        state = (sorted(self.windows.values(), key=lambda one: one.id), self._ongoing(now_ms))
        if state != self._written:
            try:
                await write_maintenance(self._shared, self.windows.values(), now_ms)
                self._written = state
            except (RedisError, OSError, TimeoutError) as fault:
                log.info("maintenance_not_written", why=type(fault).__name__)

    async def _announce(self, window: MaintenanceWindow, told: set[str], now_ms: int) -> None:
        span = f"{at(window.begin_ms):%Y-%m-%d %H:%M}"
        if window.end_ms is not None:
            span += f" to {at(window.end_ms):%Y-%m-%d %H:%M}"
        if window.ongoing(now_ms):
            if "begun" not in told:
                told |= {"begun", *map(str, BEFORE_MIN)}
                text = f"Bybit's maintenance ({window.title}) has begun: {span} UTC. Data and orders may be away until it ends."
                await self._tell(Level.WARNING, f"{window.id}:begun", text, "Stops stay on the exchange.")
            return
        left_min = (window.begin_ms - now_ms) / 60_000
        due = [minutes for minutes in BEFORE_MIN if left_min <= minutes and str(minutes) not in told]
        if due:
            told |= set(map(str, due))
            text = f"Bybit announces maintenance ({window.title}), {span} UTC: in {max(1, round(left_min))} minutes."
            remedy = "Stops stay on the exchange; /flatten what should not be held through it."
            await self._tell(Level.WARNING, f"{window.id}:{min(due)}", text, remedy)

    def _ongoing(self, now_ms: int) -> bool:
        return any(window.ongoing(now_ms) for window in self.windows.values())

    async def _tell(self, level: Level, key: str, text: str, remedy: str = "") -> None:
        await self._alerts.raise_alert(Alert(level, f"maintenance:{key}", text, remedy), wall_ms())
