"""Many bots on as many accounts of the simulated exchange: requests, connections, memory, processor time, lag, and the books.

    python -m tests.benchmarks.bench_growth [--bots 60] [--seconds 600] [--per-container 20] [--listeners 1] [--speed 12]

Everything is real but the exchange: PostgreSQL, Redis, one process per container of bots with a worker per bot, the listeners. Bots trade
a simple strategy of their own on five-minute bars; `--speed 12` makes such a bar last 25 seconds (faster, and the orders of sixty bots
need more than the request budget). Memory of a container is the proportional set size of its processes, which is what its limit counts:
pages that workers share count once. What a fill costs the listener is taken apart from the audits and from other processes, on servers of
its own: by turns with 3 bots and with all of them.
"""

import argparse
import asyncio
import contextlib
import re
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import asyncpg
import httpx
import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from alpha.bybit.request_plan import plan_of
from alpha.config.loader import load
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.postgres.migrate import ROLES, MigrateSettings
from alpha.postgres.migrate import run as migrate
from alpha.registry import SHARED_DB, Bot, load_registry
from demo.ports import free_port
from demo.postgres import DATABASE, OWNER, EmbeddedPostgres
from demo.redis import EmbeddedRedis
from tests.benchmarks.bench_listener import cost_of_bots
from tests.support.world import ROOT, SYMBOLS, Process, Simulator, until

PASSWORD = "password-of-the-benchmark"
_SAMPLE_S = 1.0
#: A container of so many bots of one strategy, and a listener of 60 bots, may take so many MB; a fill may cost so many times what
#: it costs with 3 bots.
_PACK, _PACK_MB, _LISTENER, _LISTENER_MB, _COST = 20, 250, 60, 250, 1.2
_METRIC = re.compile(r"^listener_(commit_seconds|redis_lag_seconds|waiting_rows)(?:\{[^}]*\})? ([0-9.e+-]+)$", re.M)


@dataclass
class Samples:
    """What was seen once a second."""

    memory_mb: dict[str, list[float]] = field(default_factory=dict)
    cpu_s: dict[str, float] = field(default_factory=dict)
    commit_ms: list[float] = field(default_factory=list)
    redis_ms: list[float] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    #: Connections to the exchange, to PostgreSQL and to Redis.
    connections: dict[str, list[int]] = field(default_factory=dict)


def bots_of(count: int, per_container: int) -> list[Bot]:
    """So many bots of the toy strategy, several per container."""
    model = load_registry(ROOT / "bots.toml").bots[2]

    def letters(number: int) -> str:
        # a service has no name that begins with x, as `all` would be
        return "x" + chr(97 + number // 26) + chr(97 + number % 26)

    databases = [number for number in range(count + 1) if number != SHARED_DB]
    return [
        replace(
            model, id=f"many_{number:03}", name=f"Many {number:03}", tag=letters(number), redis_db=databases[number],
            prefix=f"MANY{number:03}", container=f"pack-{number // per_container:02}",
            strategy="tests.support.toy_bot:Toy",
        )
        for number in range(count)
    ]  # fmt: skip


def write_registry(bots: list[Bot], path: Path) -> None:
    """The bots as a `bots.toml`."""
    fields = ("id", "name", "tag", "redis_db", "prefix", "container", "folder", "entry", "strategy")
    rows = []
    for bot in bots:
        values = ((name, getattr(bot, name)) for name in fields)
        rows.append(
            "[[bot]]\n" + "".join(f"{n} = {v if isinstance(v, int) else f'{chr(34)}{v}{chr(34)}'}\n" for n, v in values)
        )
    path.write_text("\n".join(rows))


class Growth:
    """One run."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder = folder
        self.options = options
        self.bots = bots_of(options.bots, options.per_container)
        self.registry = folder / "bots.toml"
        write_registry(self.bots, self.registry)
        self.postgres = EmbeddedPostgres(folder / "postgres", PASSWORD)
        self.redis = EmbeddedRedis(folder / "redis", PASSWORD, databases=max(256, options.bots + 2))
        accounts = [text for bot in self.bots for text in ("--account", f"{bot.id}:s-{bot.id}:100000")]
        self.simulator = Simulator(folder, speed=str(options.speed), seed=1, options=tuple(accounts))
        self.processes: dict[str, Process] = {}
        self._health: dict[str, str] = {}
        self.samples = Samples()
        self.synced_s = 0.0

    def _environment(self, role: str) -> dict[str, str]:
        return {
            **self.postgres.environment(), **self.redis.environment(), **self.simulator.environment(),
            "POSTGRES_USER": role, "ALPHA_BOTS_FILE": str(self.registry), "LOG_FORMAT": "json", "LOG_LEVEL": "warning",
        }  # fmt: skip

    async def open(self) -> None:
        """Start everything; returns when every bot is synced."""
        self.postgres.start()
        self.redis.start()
        await self.simulator.start()
        passwords = {f"{role}_db_password": PASSWORD for role in ROLES}
        variables = {name.lower(): value for name, value in self.postgres.environment().items()}
        await migrate(load(MigrateSettings, env_file=None, alpha_bots_file=self.registry, **variables, **passwords))
        began_s = time.monotonic()
        owned = {name: value for bot in self.bots for name, value in self._keys(bot).items()}
        for number in range(1, self.options.listeners + 1):
            self._start(
                f"listener{number}", ["-m", "websocket_listener"],
                {**self._environment("alpha_listener"), **owned, "HEALTH_PORT": str(free_port()), "LISTENER_HISTORY_DAYS": "1",
                 "LISTENER_SHARE": "true" if self.options.listeners > 1 else "false"},
            )  # fmt: skip
        for container in dict.fromkeys(bot.container for bot in self.bots):
            inside = [bot for bot in self.bots if bot.container == container]
            more = {name: value for bot in inside for name, value in self._keys(bot).items()}
            for number, bot in enumerate(inside):
                more[f"{bot.prefix}_SYMBOLS"] = f'["{SYMBOLS[number % len(SYMBOLS)]}"]'
                more[f"{bot.prefix}_NOTIONAL"] = "1000"
            self._start(
                container, ["-m", "bot_runner"],
                {**self._environment("alpha_strategy"), **more, "ALPHA_CONTAINER": container},
            )  # fmt: skip
        await until(self._all_synced, 120 + 3 * len(self.bots), "every bot to be synced")
        self.synced_s = time.monotonic() - began_s

    def _start(self, name: str, arguments: list[str], environment: dict[str, str]) -> None:
        self._health[name] = environment.get("HEALTH_PORT", "")
        process = self.processes[name] = Process(name, arguments, environment, self.folder)
        process.start()

    def _keys(self, bot: Bot) -> dict[str, str]:
        return {bot.key_variable: bot.id, bot.secret_variable: f"s-{bot.id}"}

    async def _all_synced(self) -> bool:
        links = RedisClients(self.redis.settings())
        try:
            states = [await links.of(bot).hget(keys.status(bot.id), "state") for bot in self.bots]
        finally:
            await links.close()
        return all(state == "synced" for state in states)

    async def run(self) -> None:
        """Trade and sample for the given time."""
        links = RedisClients(self.redis.settings())
        trees = {name: psutil.Process(process.pid) for name, process in self.processes.items()}
        trees["exchange"] = psutil.Process(self.simulator.process.pid)
        trees["PostgreSQL"] = psutil.Process(self.postgres.pid)
        trees["Redis"] = psutil.Process((await links.shared.info("server"))["process_id"])
        watch = await asyncpg.connect(
            host="127.0.0.1", port=self.postgres.port, user=OWNER, password=PASSWORD, database=DATABASE
        )
        before = {name: _cpu_s(tree) for name, tree in trees.items()}
        deadline_s = time.monotonic() + self.options.seconds
        async with httpx.AsyncClient(timeout=5) as client:
            while time.monotonic() < deadline_s:
                now_ms = int(time.time() * 1000)
                seen = await links.shared.eval(
                    "return redis.call('ZCOUNT', 'throttle:ip', ARGV[1], '+inf')", 0, str(now_ms - 1000)
                )
                self.samples.requests.append(int(seen))
                for name, tree in trees.items():
                    self.samples.memory_mb.setdefault(name, []).append(_pss_mb(tree))
                    if name.startswith("listener"):
                        await self._lag(client, name)
                for store, count in (
                    ("exchange", self._streams([tree for name, tree in trees.items() if name in self.processes])),
                    ("PostgreSQL", await watch.fetchval("SELECT count(*) - 1 FROM pg_stat_activity WHERE datname = $1", DATABASE)),
                    ("Redis", (await links.shared.info("clients"))["connected_clients"] - 1),
                ):  # fmt: skip
                    self.samples.connections.setdefault(store, []).append(count)
                await asyncio.sleep(_SAMPLE_S)
        self.samples.cpu_s = {name: _cpu_s(tree) - before[name] for name, tree in trees.items()}
        await watch.close()
        await links.close()

    def _streams(self, trees: list[psutil.Process]) -> int:
        """Open connections of these processes to the exchange."""
        count = 0
        for tree in trees:
            with contextlib.suppress(psutil.Error):
                count += sum(
                    bool(each.raddr) and each.raddr.port == self.simulator.port and each.status == psutil.CONN_ESTABLISHED
                    for each in tree.net_connections("tcp")
                )  # fmt: skip
        return count

    async def _lag(self, client: httpx.AsyncClient, name: str) -> None:
        with contextlib.suppress(httpx.HTTPError):
            text = (await client.get(f"http://127.0.0.1:{self._health[name]}/metrics")).text
            for metric, value in _METRIC.findall(text):
                if not float(value):
                    continue
                if metric == "commit_seconds":
                    self.samples.commit_ms.append(float(value) * 1000)
                elif metric == "redis_lag_seconds":
                    self.samples.redis_ms.append(float(value) * 1000)

    async def books(self) -> tuple[int, list[str]]:
        """Stop the bots, then compare each account's fills with the exchange's ledger: how many, and what differs."""
        for name, process in self.processes.items():
            if name.startswith("pack-"):
                process.stop()
        connection = await asyncpg.connect(
            host="127.0.0.1", port=self.postgres.port, user=OWNER, password=PASSWORD, database=DATABASE
        )
        found: dict[str, Any] = {}

        async def agree() -> bool:
            rows = await connection.fetch("SELECT bot_id, array_agg(exec_id) AS ids FROM trading.fills GROUP BY 1")
            stored = {row["bot_id"]: row["ids"] for row in rows}
            found.clear()
            for bot in self.bots:
                ledger = {row["execId"] for row in await self.simulator.ledger(bot.id)}
                ids = stored.get(bot.id, [])
                if len(ids) != len(set(ids)) or set(ids) != ledger:
                    found[bot.id] = f"{bot.id}: {len(ids)} stored, {len(ledger)} on the exchange"
            return not found

        with contextlib.suppress(AssertionError):
            await until(agree, 90, "the books to agree", step_s=2.0)
        total = await connection.fetchval("SELECT count(*) FROM trading.fills")
        await connection.close()
        return int(total), list(found.values())

    def close(self) -> None:
        """Stop everything."""
        for process in self.processes.values():
            process.stop()
        self.simulator.process.kill()
        self.redis.kill()
        self.postgres.stop("immediate")


def _pss_mb(root: psutil.Process) -> float:
    total = 0
    with contextlib.suppress(psutil.Error):
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
    return total / 2**20


def _cpu_s(root: psutil.Process) -> float:
    total = 0.0
    with contextlib.suppress(psutil.Error):
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
    return total


def _spread(values: list[float]) -> str:
    if len(values) < 2:
        return "-"
    return f"{median(values):.1f} / {quantiles(values, n=100)[98]:.1f}"


def _table(growth: Growth, fills: int, faults: list[str], costs: tuple[float, float]) -> Table:
    options, samples = growth.options, growth.samples
    plan = plan_of(options.bots, audit_s=10.0)
    table = Table(
        "figure", "value", "aim", "", title=f"{options.bots} bots on {options.bots} accounts, {options.seconds} s"
    )

    def row(figure: str, value: str, aim: str = "", good: bool = True) -> None:
        table.add_row(figure, value, aim, "" if not aim else "ok" if good else "MISSED")

    row("start to all synced", f"{growth.synced_s:.1f} s")
    row("requests a second, median / p99", _spread([float(each) for each in samples.requests]))
    row("  computed for audits", f"{plan.listener:.1f} (beat {plan.beat_s:.0f} s)")
    for store, counts in samples.connections.items():
        row(f"connections to {store}, most", f"{max(counts)}")
    for name, values in samples.memory_mb.items():
        inside = sum(bot.container == name for bot in growth.bots)
        most_mb, of = (_PACK_MB, inside / _PACK) if inside else (_LISTENER_MB, options.bots / _LISTENER)
        limited = 0 < of <= 1 and (inside or name.startswith("listener"))
        share = samples.cpu_s.get(name, 0.0) / options.seconds * 100
        row(
            f"{name}{f', {inside} bots' if inside else ''}: memory (most), processor",
            f"{max(values):.0f} MB, {share:.0f} % of a core",
            f"< {most_mb} MB" if limited else "",
            max(values) < most_mb,
        )
    row("frame to commit, ms, median / p99 of samples", _spread(samples.commit_ms))
    row("frame to Redis, ms, median / p99 of samples", _spread(samples.redis_ms))
    row("fills", f"{fills}")
    listeners = sum(cpu for name, cpu in samples.cpu_s.items() if name.startswith("listener"))
    row("listener's processor time per fill, audits included", f"{listeners / max(1, fills) * 1000:.2f} ms")
    few_us, many_us = costs
    row(
        f"  the fill alone, {options.bots} bots against 3",
        f"{many_us:.0f} us against {few_us:.0f}: {many_us / few_us:.2f} times",
        f"<= {_COST:g} times",
        many_us <= few_us * _COST,
    )
    row("books", "agree" if not faults else "; ".join(faults[:5]), "agree", not faults)
    return table


async def _traded(options: argparse.Namespace, folder: Path) -> tuple[Growth, int, list[str]]:
    growth = Growth(folder, options)
    try:
        await growth.open()
        await growth.run()
        fills, faults = await growth.books()
        return growth, fills, faults
    finally:
        growth.close()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Run it; 1 when the books do not agree."""
    parser = argparse.ArgumentParser(prog="make bench-growth")
    parser.add_argument("--bots", type=int, default=60)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--per-container", type=int, default=20)
    parser.add_argument("--listeners", type=int, default=1)
    parser.add_argument("--speed", type=float, default=12.0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="alpha-growth-"))
    folder.chmod(0o755)
    growth, fills, faults = asyncio.run(_traded(options, folder))
    costs = uvloop.run(cost_of_bots(options.bots))
    Console(width=120).print(_table(growth, fills, faults, costs))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
