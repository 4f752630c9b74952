"""How fast the operator's questions are answered, picture included: `make bench ARGS=command_centre`.

The history is that of `bench_history` (seeded); live state is a Redis of its own. The floor is a bare `SELECT 1`.

    python -m tests.benchmarks.bench_command_centre --fills 10000000
"""

import argparse
import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from alpha.config.loader import load as load_settings
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.model.timestamp import ms_of
from alpha.registry import load_registry
from bot_control import BotControlSettings, open_control
from dashboard import front
from dashboard.asked import Asked
from demo.postgres import EmbeddedPostgres
from demo.redis import EmbeddedRedis
from operations.arguments import read_words
from operations.commands import QUERIES
from operations.context import History, Operations
from telegram_manager import layout
from telegram_manager.chart_worker import ChartWorker
from tests.benchmarks.bench_history import ROOT, load
from tests.support.fill_generator import DAYS, START

ROUNDS = 20
ASKED = ("status", "trades shortseller 20", "fills 20", "analytics shortseller 30d", "analytics all", "daily 30", "monthly 12", "performance all")  # fmt: skip


async def measure(platform: Operations, words: list[str], painter: ChartWorker) -> tuple[list[float], list[float], int]:
    """Milliseconds of each round: the question with its layout, and the same with its picture; the picture's bytes."""
    question = next(question for question in QUERIES if question.name == words[0])
    args = read_words(platform.registry, question.name, question.usage, question.example, words[1:])
    found, drawn, size = [], [], 0
    for _ in range(ROUNDS):
        started = time.perf_counter()
        page = await question.ask(platform, args)
        layout.pages_of(page)
        found.append((time.perf_counter() - started) * 1000)
        if page.picture is not None:
            size = len(await painter.draw(page.picture))
        drawn.append((time.perf_counter() - started) * 1000)
    return found, drawn, size


async def bench(postgres: EmbeddedPostgres, redis: EmbeddedRedis, fills: int) -> None:
    """Load, ask, print."""
    await load(postgres.settings(), 7, fills)
    registry = load_registry(ROOT / "bots.toml")
    live = RedisClients(redis.settings())
    history = History(postgres.settings(), "bench")
    control = open_control(
        load_settings(BotControlSettings, env_file=None, bot_control_url="unix:///nowhere"), registry
    )
    platform = Operations(registry, live, history, control)
    for bot in registry.bots:
        now = str(ms_of(START + timedelta(days=DAYS)))
        wallet = {"equity": "1", "wallet_balance": "1", "updated_at": now}
        await live.of(bot).hset(keys.wallet(bot.id), mapping=wallet)
    painter = ChartWorker()
    await painter.open()
    floor = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        await history.value("SELECT 1")
        floor.append((time.perf_counter() - started) * 1000)
    title = f"{fills:,} fills, median of {ROUNDS} rounds; floor: SELECT 1 in {statistics.median(floor):.1f} ms"
    table = Table("question", "ms", "with its picture, ms", "the picture alone", title=title)
    for words in ASKED:
        found, drawn, size = await measure(platform, words.split(), painter)
        alone = statistics.median(both - text for both, text in zip(drawn, found, strict=True))
        picture = f"{alone:.0f} ms, {size / 1000:.0f} KB" if size else "-"
        table.add_row(words, f"{statistics.median(found):.0f}", f"{statistics.median(drawn):.0f}", picture)
    pages = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        await asyncio.gather(front.live_places(platform), front.past_place(platform, Asked("/")))
        pages.append((time.perf_counter() - started) * 1000)
    table.add_row("the dashboard's first page", f"{statistics.median(pages):.0f}", "-", "-")
    Console(width=110).print(table)
    painter.close()
    await live.close()
    await history.close()
    await control.close()


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="How fast the operator's questions are answered.")
    parser.add_argument("--fills", type=int, default=1_000_000, help="how many fills")
    fills: int = parser.parse_args().fills
    folder = Path(tempfile.mkdtemp(prefix="alpha-bench-centre-"))
    postgres, redis = EmbeddedPostgres(folder / "postgres", "bench"), EmbeddedRedis(folder / "redis", "bench")
    try:
        postgres.start()
        redis.start()
        asyncio.run(bench(postgres, redis, fills))
        return 0
    finally:
        redis.stop()
        postgres.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
