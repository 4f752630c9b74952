"""One run of the demo: start the stack, show the view, shut down, check the ledgers."""

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import httpx
from rich.console import Console
from rich.live import Live

from alpha.clock import is_set_within
from alpha.config.loader import load
from alpha.config.services import LogSettings
from alpha.errors import AlphaError, Fatal, Misconfigured
from alpha.live_state.connect import REDIS_UNAVAILABLE
from alpha.live_state.events import EventReader
from alpha.logs import configure
from alpha.postgres.sql import queries
from alpha.process import end_tasks
from alpha.registry import Bot, Registry, load_registry
from demo.key_commands import KeyCommands
from demo.keyboard import Keyboard
from demo.ledger_check import Ledger, check_books
from demo.line_scheduler import LineScheduler
from demo.log_tail import LogTail
from demo.model import DemoModel, prepare, summary
from demo.processes import State
from demo.refusals import Refusals
from demo.settings import DemoSettings
from demo.speed_control import SpeedControl, bars_behind, bots_ready, next_closes
from demo.stack import EXCHANGE, DemoStack
from demo.timeline import Line, TimelineWriter
from demo.view import Scene, picture, plain_line
from operations.context import Operations, OperationsSettings, open_operations
from operations.dashboard_access import DashboardAccess
from operations.positions import balance
from operations.status import status

SQL = queries(__file__)

REFRESH_S = 0.5
#: How often lines are printed without the full-screen view, in seconds.
SAY_S = 0.1
PACE_S = 0.5
#: Startup timeout of the exchange, in seconds.
START_LIMIT_S = 60.0
#: How long the bots may take to become ready before the run starts without them, in seconds.
READY_LIMIT_S = 90.0
#: How long late services leave the CPU to the starting bots, and how long they wait for them at most, in seconds.
BEGIN_S = 6.0
LATE_S = 15.0


class DemoRun:
    """One run. `run` returns the exit code: 0 only when the ledgers agree and no process refuses its settings."""

    def __init__(
        self,
        settings: DemoSettings,
        registry: Registry,
        root: Path,
        watcher: Callable[[Scene], None] | None = None,
        model: DemoModel | None = None,
    ) -> None:
        """`watcher` receives every scene, for recording. `model`: what `demo.model` prepared, with its registry."""
        self._settings = settings
        self._stack = DemoStack(settings, registry, root, model)
        self._console = Console()
        self._watcher = watcher
        self._story = TimelineWriter()
        self._telling = LineScheduler()
        #: Market time up to which every bot has finished acting.
        self._evaluated_ms: int | None = None
        self._recorded: set[str] = set()
        self._ledger = Ledger(self._stack.exchange_url)
        self._pace = SpeedControl(settings.demo_speed)
        #: When the bots became ready: the run's duration counts from there.
        self._began: float | None = None
        self._ready = asyncio.Event()
        self._refusals = Refusals(self._stack.supervisor)

    @property
    def dashboard_url(self) -> str:
        """URL of the dashboard, including its token."""
        return self._stack.dashboard_url

    async def run(self, stop: asyncio.Event) -> int:
        """Start, show until `stop` is set or time is up, shut down in order, compare the ledgers."""
        say = self._console.print
        say(
            "Starting PostgreSQL, Redis, the simulated exchange, the services and the bots ...",
            style="dim",
            soft_wrap=True,
        )
        try:
            await self._stack.open()
            await self._wait_for_exchange()
            async with open_operations(self._platform_settings(), "demo") as platform:
                await self._show(platform, stop)
                return await self._finish(platform)
        finally:
            await self._ledger.close()
            await self._stack.close()

    async def _wait_for_exchange(self) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        process = self._stack.supervisor.processes[EXCHANGE]
        async with httpx.AsyncClient(timeout=2) as client:
            while time.monotonic() < deadline:
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(f"{self._stack.exchange_url}/v5/market/time")).status_code == 200:
                        return
                if process.state in {State.RESTARTING, State.EXITED}:
                    break
                await asyncio.sleep(0.05)
        said = self._stack.supervisor.tail(EXCHANGE, 3).strip() or f"it said nothing; see {process.log_path}"
        raise Fatal(f"The simulated exchange did not start: {said}")

    def _platform_settings(self) -> OperationsSettings:
        environment = {name.lower(): value for name, value in self._stack.environment_of("alpha_c2").items()}
        known = {name: environment[name] for name in OperationsSettings.model_fields if name in environment}
        return load(OperationsSettings, env_file=None, **known)

    async def _show(self, platform: Operations, stop: asyncio.Event) -> None:
        desk = KeyCommands(platform, self._stack.dashboard_url, stop, with_model=self._stack.model is not None)
        tasks = [
            *(asyncio.create_task(self._listen(platform, bot)) for bot in self._stack.registry.bots),
            asyncio.create_task(self._overhear()),
            asyncio.create_task(self._keep_pace(platform)),
            asyncio.create_task(self._start_late()),
            asyncio.create_task(self._say_refusals()),
        ]
        ending = asyncio.create_task(stop.wait())
        try:
            if self._console.is_terminal:
                await self._redraw(platform, desk, ending)
            else:
                await self._say(platform, ending)
        finally:
            await end_tasks([ending, *tasks])
            await desk.close()

    async def _redraw(self, platform: Operations, desk: KeyCommands, ending: "asyncio.Task[bool]") -> None:
        with Keyboard() as keyboard, Live(console=self._console, screen=True, auto_refresh=False) as live:
            key = asyncio.create_task(keyboard.next())
            try:
                while not ending.done() and not self._over():
                    scene = await self._scene(platform, desk)
                    size = self._console.size
                    live.update(picture(scene, size.height, size.width), refresh=True)
                    await asyncio.wait({ending, key}, timeout=REFRESH_S, return_when=asyncio.FIRST_COMPLETED)
                    if key.done():
                        desk.press(key.result())
                        key = asyncio.create_task(keyboard.next())
            finally:
                await end_tasks([key])

    async def _say(self, platform: Operations, ending: "asyncio.Task[bool]") -> None:
        desk = KeyCommands(
            platform, self._stack.dashboard_url, asyncio.Event(), with_model=self._stack.model is not None
        )
        pause_s = SAY_S if self._watcher is None else REFRESH_S
        while not ending.done() and not self._over():
            if self._watcher is not None:
                self._watcher(await self._scene(platform, desk))
            await asyncio.wait({ending}, timeout=pause_s)
            self._print(self._telling.due(time.monotonic(), self._evaluated_ms))
        self._print(self._telling.rest())

    def _print(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self._console.print(plain_line(line), markup=False, highlight=False, soft_wrap=True)

    async def _keep_pace(self, platform: Operations) -> None:
        """Keep the market slow until every bot is ready, then let it run as fast as they can follow."""
        deadline = time.monotonic() + READY_LIMIT_S
        with contextlib.suppress(httpx.HTTPError, Fatal):
            await self._ledger.set_speed(self._pace.speed)
        while time.monotonic() < deadline:
            if await bots_ready(platform):
                break
            await asyncio.sleep(0.2)
        self._began = time.monotonic()
        self._ready.set()
        self._pace.begin()
        while True:
            with contextlib.suppress(httpx.HTTPError, Fatal):
                now_ms = await self._ledger.set_speed(self._pace.speed)
                closes = await next_closes(platform)
                self._pace.next_speed(bars_behind(closes, now_ms))
                everybody = len(closes) == len(platform.registry.bots)
                self._evaluated_ms = min(close_ms for close_ms, _ in closes.values()) if everybody else None
            await asyncio.sleep(PACE_S)

    async def _start_late(self) -> None:
        """Start the late services shortly after the bots are ready, or when the bots take too long."""
        if await is_set_within(self._ready, LATE_S):
            await asyncio.sleep(BEGIN_S)
        await self._stack.start_late()

    async def _say_refusals(self) -> None:
        """Say which process refuses its settings, as soon as it does; the full-screen view shows it in its last line."""
        while True:
            for sentence in self._refusals.new():
                if not self._console.is_terminal:
                    self._console.print(sentence, style="red", markup=False, highlight=False, soft_wrap=True)
            await asyncio.sleep(REFRESH_S)

    async def _listen(self, platform: Operations, bot: Bot) -> None:
        reader = EventReader(platform.live.of(bot), bot.id)
        while True:
            try:
                events = await reader.read(block_ms=500)
            except REDIS_UNAVAILABLE:
                await asyncio.sleep(0.5)
                continue
            self._tell(self._story.hear(bot.id, events))

    async def _overhear(self) -> None:
        supervised = self._stack.supervisor.processes
        registry = self._stack.registry
        bots = [bot for bot in registry.bots if bot.container in supervised and not registry.is_shared(bot)]
        ears = [(bot.id, LogTail(supervised[bot.container].log_path)) for bot in bots]
        while True:
            for bot_id, ear in ears:
                for said in ear.new():
                    self._tell(self._story.overhear(bot_id, said))
            await asyncio.sleep(0.2)

    def _tell(self, lines: Iterable[Line]) -> None:
        if not self._console.is_terminal:
            self._telling.hear(lines, time.monotonic())

    def _over(self) -> bool:
        limit = self._settings.demo_seconds
        return limit is not None and self._began is not None and time.monotonic() - self._began >= limit

    async def _scene(self, platform: Operations, desk: KeyCommands) -> Scene:
        made = recorded = None
        balances = []
        with contextlib.suppress(AlphaError):
            await self._look_up(platform)
            recorded = await platform.history.value(SQL["count_fills"])
            made = await self._ledger.count()
            balances = await balance(platform)
        desk.seen = await status(platform)
        return Scene(
            status=desk.seen,
            balances=balances,
            lines=list(self._story.lines),
            recorded=frozenset(self._recorded),
            exchange_fills=made,
            recorded_fills=recorded,
            candles=self._story.candles,
            speed=self._pace.speed,
            elapsed_s=None if self._began is None else int(time.monotonic() - self._began),
            seconds=self._settings.demo_seconds,
            chosen=desk.chosen,
            keys=desk.keys,
            answer=desk.answer or " ".join(self._refusals.lasting()),
            hint=f"The data is kept: make psql asks it.   {self._stack.dashboard_url}",
        )

    async def _look_up(self, platform: Operations) -> None:
        """Look up the displayed fills in PostgreSQL: a fill counts as recorded only once its row was read."""
        unseen = [line.exec_id for line in self._story.lines if line.exec_id and line.exec_id not in self._recorded]
        if unseen:
            rows = await platform.history.rows(SQL["stored"], unseen)
            self._recorded.update(row["exec_id"] for row in rows)

    async def _finish(self, platform: Operations) -> int:
        self._console.print("Stopping the exchange's clock and comparing the books ...", style="dim")
        refused = self._refusals.lasting()
        await self._ledger.pause()
        keys = {bot: key for bot, (key, _) in self._stack.secrets.keys.items()}
        books = await check_books(self._ledger, platform, keys)
        self._console.print()
        for line in books.differences[:20]:
            self._console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
        if self._stack.model is not None:
            for line in await summary(platform, self._stack.model):
                self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        style = "green" if books.agree else "red bold"
        # what refused while the books were compared is named, too
        refused = list(dict.fromkeys([*refused, *self._refusals.lasting()]))
        self._console.print(books.summary, style=style, markup=False, highlight=False, soft_wrap=True)
        for sentence in refused:
            self._console.print(sentence, style="red", markup=False, highlight=False, soft_wrap=True)
        return 1 if not books.agree else Misconfigured.exit_code if refused else 0


async def run_demo(root: Path, stop: asyncio.Event) -> int:
    """Run the demo with settings from the environment; returns the exit code."""
    # Log lines would break up the view.
    configure("demo", load(LogSettings, env_file=None, log_level="error"))
    settings = load(DemoSettings, env_file=None)
    # The dashboard starts after the bots; what is wrong with its settings is said before anything starts.
    load(DashboardAccess, env_file=None)
    if not settings.demo_model:
        return await DemoRun(settings, load_registry(root / "bots.toml"), root).run(stop)
    folder = settings.demo_state.absolute() / f"model-{settings.demo_model}"
    model = await asyncio.to_thread(prepare, folder, settings.demo_model, _to_stderr)
    return await DemoRun(settings, model.registry, root, model=model).run(stop)


def _to_stderr(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")
