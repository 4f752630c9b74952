"""One run of `alpha observe`: check the key, start, back-fill, reconcile, say what the books hold, stay."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from alpha.bybit.hosts import Hosts
from alpha.bybit.session import Credentials
from alpha.errors import Retry
from alpha.model.account import Environment
from alpha.model.money import plain
from alpha.postgres.database import connect, fetch_one
from alpha.postgres.sql import queries
from alpha_cli.observe.key import check_key
from alpha_cli.observe.stack import LISTENER, SYNC, ObserveStack
from demo.ports import free_port

SQL = queries(__file__)

#: Bybit keeps two years of executions, and seven days on demo trading.
KEPT_DAYS = {Environment.DEMO: 7}
LOOK_S = 0.3
#: Without a terminal a line of progress comes this often, in seconds.
SAY_S = 5.0
#: A start that has not answered for so long has failed in a way that its log tells, in seconds.
NO_ANSWER_S = 60.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for. `once` ends after the result; otherwise it stays until it is stopped."""

    state: Path
    days: int
    dashboard_port: int | None
    once: bool


@dataclass(frozen=True, slots=True)
class Books:
    """What the record holds. `net` is by settle coin; `differences` is None when nobody could compare."""

    fills: int
    funding: int
    trips: int
    net: dict[str, Decimal]
    since: str
    differences: int | None
    detail: str

    def line(self) -> str:
        """The result in one line."""
        net = ", ".join(f"{plain(round(value, 2))} {coin}" for coin, value in sorted(self.net.items())) or "0 USDT"
        found = "not compared" if self.differences is None else f"{self.differences}"
        since = f" since {self.since}" if self.since else ""
        return f"Your books{since}: {self.fills:,} fills, {self.funding:,} funding payments, {self.trips:,} round trips, P&L {net}, differences: {found}"


class ObserveRun:
    """The account behind one key."""

    def __init__(self, wanted: Wanted, hosts: Hosts, exchange: dict[str, str], root: Path) -> None:
        self._wanted = wanted
        self._hosts = hosts
        self._exchange = exchange
        self._root = root
        self._began_s = time.monotonic()
        self._said_s = 0.0
        self._said = ""

    async def run(self, key: Credentials, stop: asyncio.Event) -> int:
        """Returns 0 when the books are equal, 1 when they differ or could not be compared."""
        info = await check_key(self._hosts, key)
        account = f"{self._hosts.environment.value}-{info.user_id}"
        days = min(self._wanted.days, KEPT_DAYS.get(self._hosts.environment, self._wanted.days))
        self._say(
            f"The key reads the account {info.user_id} ({self._hosts.environment.value}) and can do nothing else."
        )
        stack = ObserveStack(
            self._wanted.state / account, self._root, self._exchange, dashboard_port=self._wanted.dashboard_port
        )
        try:
            self._say("Starting PostgreSQL, Redis, the listener, the trade sync and the dashboard ...")
            await stack.open(key, history_days=days)
            work = asyncio.create_task(self._fill(stack, key, days))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel()
                self._say("Stopped. What was read is kept; the next start goes on there.")
                return 130
            stopping.cancel()
            books = await work
            self._tell(stack, books)
            if not self._wanted.once:
                await stop.wait()
            return 0 if books.differences == 0 else 1
        finally:
            await stack.close()

    async def _fill(self, stack: ObserveStack, key: Credentials, days: int) -> Books:
        """Read the history to its end, then Bybit's closed trades, then compare the two."""
        async with httpx.AsyncClient(timeout=5) as client:
            await self._until_synced(stack, client)
            self._say("The executions are read. Reading Bybit's closed trades ...")
            await stack.supervisor.start(SYNC)
            await self._until_read(stack, client)
        self._say("Comparing every fill, closed trade, transfer and day of the wallet with Bybit's own figures ...")
        code, detail = await asyncio.to_thread(self._reconcile, stack, key, days)
        return await _read_books(stack, code, detail)

    async def _until_synced(self, stack: ObserveStack, client: httpx.AsyncClient) -> None:
        deadline = time.monotonic() + NO_ANSWER_S
        while True:
            stack.require_alive(LISTENER)
            page = await _health(client, stack.health_url(LISTENER))
            if page is None and time.monotonic() > deadline:
                raise Retry(f"The listener does not answer. Its log: {stack.folder / 'logs' / LISTENER}.log")
            bot: dict[str, str] = {} if page is None else page.get("details", {}).get(stack.bot.id, {})
            if bot.get("state") == "synced":
                return
            if history := bot.get("history"):
                self._say(f"Reading executions: {history}", often=True)
            elif why := bot.get("why"):
                self._say(f"The listener waits: {why}", often=True)
            await asyncio.sleep(LOOK_S)

    async def _until_read(self, stack: ObserveStack, client: httpx.AsyncClient) -> None:
        while True:
            stack.require_alive(SYNC)
            page = await _health(client, stack.health_url(SYNC))
            details: dict[str, Any] = {} if page is None else page.get("details", {})
            if stack.bot.id in details.get("last_success", {}):
                return
            if fault := details.get("faults", {}).get(stack.bot.id):
                self._say(f"The trade sync tries again: {fault}", often=True)
            await asyncio.sleep(LOOK_S)

    def _reconcile(self, stack: ObserveStack, key: Credentials, days: int) -> tuple[int, str]:
        """The exit code and the words of a reconciliation of everything that was read."""
        environment = {
            **stack.environment_of("alpha_sync"),
            **stack.sync_environment(key, days),
            "LOG_LEVEL": "error",
            "HEALTH_PORT": str(free_port()),
        }
        done = subprocess.run(
            [sys.executable, "-m", SYNC, "reconcile"],
            cwd=self._root,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        return done.returncode, (done.stdout.strip() or done.stderr.strip()[-400:])

    def _tell(self, stack: ObserveStack, books: Books) -> None:
        self._say(books.line())
        if books.differences != 0:
            self._say(f"  {books.detail}")
        self._say(f"  Took {time.monotonic() - self._began_s:.0f} s.")
        self._say(f"Dashboard: {stack.dashboard_url}")
        shown = _from_here(stack.settings_file)
        self._say(f"Ask from another terminal: .venv/bin/alpha --env-file {shown} trades 5")
        if not self._wanted.once:
            self._say("Recording goes on until Ctrl-C; the data stays, and the next start goes on where this one ends.")

    def _say(self, text: str, *, often: bool = False) -> None:
        """Print a line; one that comes `often` at most every few seconds, and only when it is new."""
        now_s = time.monotonic()
        if often and (text == self._said or now_s - self._said_s < SAY_S):
            return
        self._said, self._said_s = text, now_s
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


async def _health(client: httpx.AsyncClient, url: str) -> dict[str, Any] | None:
    with contextlib.suppress(httpx.HTTPError, ValueError):
        found: dict[str, Any] = (await client.get(url)).json()
        return found
    return None


async def _read_books(stack: ObserveStack, code: int, detail: str) -> Books:
    connection = await connect(stack.database(), "observe")
    try:
        # a funding payment is an execution, not a fill
        found = await fetch_one(
            connection,
            SQL["fills"],
        )
        trips = await connection.fetchval(SQL["count_trips"])
        rows = await connection.fetch(SQL["net"])
        open_ones = await connection.fetchval(SQL["open_differences"])
    finally:
        await connection.close()
    compared = code in (0, 1)
    return Books(
        int(found["fills"]),
        int(found["funding"]),
        int(trips),
        {row["coin"]: row["net"] for row in rows},
        f"{found['since']:%Y-%m-%d}" if found["since"] is not None else "",
        int(open_ones) if compared else None,
        detail,
    )


def _from_here(path: Path) -> str:
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


async def observe(run: ObserveRun, key: Credentials) -> int:
    """Run until SIGINT or SIGTERM; faults are sentences of AlphaError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        return await run.run(key, stop)
    except OSError as fault:
        raise Retry(f"The record cannot go on: {fault}. --state names the folder where it is kept.") from None
