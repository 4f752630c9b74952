"""Strategy code in a process of its own, with a deadline: what hangs or faults there touches no other bot.

The runner of a shared container (`shared.py`) holds accounts, orders and state; a worker holds nothing but the strategy
object. Each call is one pickled message each way over a socket pair, its length first (4 bytes, big-endian). A worker that does
not answer in time is killed, and a new one is forked from a process that has imported the strategies already, so that
workers share its memory pages.
"""

import asyncio
import contextlib
import multiprocessing
import os
import pickle
import signal
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from typing import Any

import msgspec
import numpy as np

from alpha.errors import AlphaError, Fatal, Misconfigured
from alpha.registry import Bot
from alpha.strategy.auxiliary import Column
from alpha.strategy.bars import Bars, BarView, FloatArray, ScoreColumn, Series
from alpha.strategy.base import BarContext, Portfolio, Strategy, StrategyState, Universe
from alpha.strategy.frames import base_history, series_of, with_scores
from alpha.strategy.intents import Intent
from alpha.strategy.risk_rules import Rules
from bot_runner.indicator_log import Rows, rows_of
from bot_runner.load_strategy import load_strategy

_LENGTH = struct.Struct(">I")
#: How long a worker may take to load its strategy.
LOAD_S = 60.0
#: What the forking process, and so strategy code, sees of the environment: no key, no password.
_HARMLESS = ("PATH", "PYTHON", "LANG", "LC_", "TZ", "HOME", "OMP_", "OPENBLAS_", "VIRTUAL_ENV")


class StrategyFault(Fatal):
    """The strategy's own code raised, or did not answer within its deadline."""


@dataclass(frozen=True, slots=True)
class Described:
    """What a strategy declares about itself, asked once, and the class of its state."""

    interval: str
    history: int
    universe: Universe
    rules: Rules
    sees_equity: bool
    state_type: type[StrategyState]
    models: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()


class WorkerStrategy(Strategy[Any, Any]):
    """A strategy whose code runs in a worker: it answers with what that one said when it was loaded."""

    def __init__(self, described: Described, worker: "StrategyWorker") -> None:
        super().__init__(None)
        self.described = described
        self.worker = worker

    @property
    def interval(self) -> str:
        """Its base interval."""
        return self.described.interval

    @property
    def history(self) -> int:
        """How many base bars all its timeframes need."""
        return self.described.history

    @property
    def universe(self) -> Universe:
        """The symbols it follows."""
        return self.described.universe

    @property
    def rules(self) -> Rules:
        """Its account rules."""
        return self.described.rules

    @property
    def models(self) -> tuple[str, ...]:
        """The models it uses."""
        return self.described.models

    @property
    def references(self) -> tuple[str, ...]:
        """Further symbols that it reads."""
        return self.described.references

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns it looks at."""
        return self.described.columns

    def indicators(self, bars: Bars) -> dict[str, FloatArray]:
        """Never called here."""
        raise RuntimeError("Indicators of a worker's strategy are computed in the worker.")

    def evaluate(self, moment: BarContext, state: Any) -> list[Intent]:
        """Never called here."""
        raise RuntimeError("A worker's strategy is evaluated in the worker.")


class StrategyWorker:
    """The process with one bot's strategy. One call at a time."""

    def __init__(self, bot: Bot, variables: Mapping[str, str], deadline_s: float) -> None:
        """`variables` are those with the bot's prefix, its keys left out; `deadline_s` bounds each call."""
        self._bot = bot
        self._variables = dict(variables)
        self._deadline_s = deadline_s
        self._running: _Running | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._running.process.pid if self._running is not None else None

    async def load(self) -> Strategy[Any, Any]:
        """Start the process and load the strategy. Raises Misconfigured or StrategyFault, naming the bot."""
        await self.close()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        process = multiprocessing.get_context("forkserver").Process(
            target=serve, args=(theirs, self._bot, self._variables), name=f"strategy {self._bot.id}", daemon=True
        )
        try:
            with theirs:
                process.start()
            streams = await asyncio.open_connection(sock=ours, limit=2**26)
        except BaseException:
            ours.close()
            if process.pid is not None:
                process.kill()
            raise
        running = self._running = _Running(process, *streams)
        found = await self._call_in(running, "describe", limit_s=LOAD_S)
        described = Described(*found)
        remote = type(
            "WorkerStrategy",
            (WorkerStrategy,),
            {"state_type": described.state_type, "sees_equity": described.sees_equity},
        )
        strategy: Strategy[Any, Any] = remote(described, self)
        return strategy

    async def views(self, bars: Mapping[str, Bars]) -> dict[str, BarView]:
        """The newest bar of each symbol. Its indicators stay in the worker; here it knows whether all have a value."""
        ready: dict[str, bool] = await self._call("views", bars)
        return {
            symbol: Series(each, {}, np.full(len(each), ready[symbol])).view(len(each) - 1)
            for symbol, each in bars.items()
        }

    async def evaluate(self, moment: BarContext, state: StrategyState) -> list[Intent]:
        """The strategy's intents at this bar, for the symbols last given to `views`. Changes `state` in place."""
        scores = {symbol: bar.series.scores for symbol, bar in moment.bars.items() if bar.series.scores}
        intents, after = await self._call(
            "evaluate", moment.bar_ms, moment.close_ms, list(moment.bars), moment.portfolio, state, scores
        )
        for name in msgspec.structs.fields(state):
            setattr(state, name.name, getattr(after, name.name))
        found: list[Intent] = intents
        return found

    async def indicators(self, due: Mapping[str, int]) -> dict[str, Rows]:
        """The indicators of these symbols as last given to `views`, at the bars that began after the given time."""
        found: dict[str, Rows] = await self._call("indicators", due)
        return found

    async def _call(self, name: str, *arguments: object) -> Any:
        """Call the worker; one that was killed is loaded again first."""
        while self._running is None:
            await self.load()
        return await self._call_in(self._running, name, *arguments, limit_s=self._deadline_s)

    async def _call_in(self, running: "_Running", name: str, *arguments: object, limit_s: float) -> Any:
        try:
            async with asyncio.timeout(limit_s):
                request = pickle.dumps((name, arguments), protocol=pickle.HIGHEST_PROTOCOL)
                running.writer.write(_LENGTH.pack(len(request)) + request)
                await running.writer.drain()
                length = _LENGTH.unpack(await running.reader.readexactly(_LENGTH.size))[0]
                answer = await running.reader.readexactly(length)
        except TimeoutError:
            await self.close()
            raise StrategyFault(
                f"The strategy of {self._bot.id} did not answer {name!r} within {limit_s:g} s; its worker was killed."
            ) from None
        except (OSError, asyncio.IncompleteReadError):
            await self.close()
            raise StrategyFault(f"The worker with the strategy of {self._bot.id} ended during {name!r}.") from None
        except asyncio.CancelledError:
            # half a message may be under way
            await self.close()
            raise
        # The worker is our own process and runs as the same user.
        kind, value = pickle.loads(answer)  # noqa: S301
        if kind == "misconfigured":
            raise Misconfigured(value)
        if kind == "fault":
            raise StrategyFault(f"The strategy of {self._bot.id} failed in {name!r}: {value}")
        return value

    async def close(self) -> None:
        """Kill the process."""
        running, self._running = self._running, None
        if running is not None:
            running.writer.close()
            running.process.kill()
            await asyncio.to_thread(running.process.join, 2.0)


@dataclass(frozen=True, slots=True)
class _Running:
    """A worker's process and the two ends of its socket."""

    process: ForkServerProcess
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


def prepare(modules: Sequence[str]) -> None:
    """Start the process that workers are forked from; it imports `modules` first and has none of our secrets.

    Call it before any thread is started.
    """
    multiprocessing.set_forkserver_preload([__name__, *modules, "bot_runner.worker_freeze"])
    kept = dict(os.environ)
    for name in kept:
        if not name.startswith(_HARMLESS):
            del os.environ[name]
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(kept)


def serve(connection: socket.socket, bot: Bot, variables: dict[str, str]) -> None:
    """The worker's side: answers until the socket closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, EOFError), connection:
        calls: dict[str, Callable[..., object]] = {}

        def describe() -> tuple[object, ...]:
            """Load the strategy, which can be asked from then on."""
            loaded = _Loaded(load_strategy(bot, variables))
            calls.update(views=loaded.views, evaluate=loaded.evaluate, indicators=loaded.indicators)
            return loaded.described()

        calls["describe"] = describe
        while True:
            name, arguments = pickle.loads(_received(connection))  # noqa: S301 - from the runner
            answer: tuple[str, object]
            try:
                answer = ("done", calls[name](*arguments))
            except Misconfigured as fault:
                answer = ("misconfigured", str(fault))
            except AlphaError as fault:
                answer = ("fault", str(fault))
            except Exception as fault:  # noqa: BLE001 - the strategy's code may raise anything; the runner names it
                answer = ("fault", f"{type(fault).__name__}: {fault}"[:500])
            data = pickle.dumps(answer, protocol=pickle.HIGHEST_PROTOCOL)
            connection.sendall(_LENGTH.pack(len(data)) + data)


class _Loaded:
    """The strategy and the bars it was last shown."""

    def __init__(self, strategy: Strategy[Any, Any]) -> None:
        self._strategy = strategy
        self._views: dict[str, BarView] = {}

    def described(self) -> tuple[object, ...]:
        """What the strategy is: the fields of `Described`."""
        strategy = self._strategy
        return (
            strategy.interval,
            base_history(strategy),
            strategy.universe,
            strategy.rules,
            strategy.sees_equity,
            strategy.state_type,
            strategy.models,
            strategy.references,
            strategy.columns,
        )

    def views(self, bars: Mapping[str, Bars]) -> dict[str, bool]:
        """Compute the indicators of these bars and keep them; returns whether all have a value, by symbol."""
        self._views = {symbol: series_of(self._strategy, each).view(len(each) - 1) for symbol, each in bars.items()}
        return {symbol: view.ready for symbol, view in self._views.items()}

    def evaluate(
        self,
        bar_ms: int,
        close_ms: int,
        symbols: list[str],
        portfolio: Portfolio,
        state: StrategyState,
        scores: Mapping[str, Mapping[str, ScoreColumn]],
    ) -> tuple[list[Intent], StrategyState]:
        """The strategy's intents and its state afterwards."""
        shown = {
            symbol: with_scores(self._views[symbol], scores[symbol]) if symbol in scores else self._views[symbol]
            for symbol in symbols
        }
        return self._strategy.evaluate(BarContext(bar_ms, close_ms, shown, portfolio), state), state

    def indicators(self, due: Mapping[str, int]) -> dict[str, Rows]:
        """The values at the bars after these starts, of the symbols that were shown last."""
        return {symbol: rows_of(self._views[symbol], after) for symbol, after in due.items() if symbol in self._views}


def _received(connection: socket.socket) -> bytes:
    return _exactly(connection, _LENGTH.unpack(_exactly(connection, _LENGTH.size))[0])


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(min(size - len(parts), 2**20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)
