"""A strategy with a model: live and in a back-test the same scores to the bit and the same trades; and without its server."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import numpy as np
import pytest

from alpha.alerts import Level
from alpha.bybit.client import market_gateway
from alpha.bybit.hosts import hosts_of
from alpha.bybit.rate_limiter import RateLimiter
from alpha.config.exchange import ExchangeSettings
from alpha.config.loader import load
from alpha.model.account import Account
from alpha.model.timestamp import at
from alpha.postgres.database import connect
from alpha.scoring.features import FeatureSet, row_hash
from alpha.scoring.local import Session, score_bars
from alpha.scoring.manifest import read_artefact
from bot_runner.predictions import Predictions
from bot_runner.skew_check import COMPARED, SkewCheck
from bot_runner.store import Store
from demo.ports import free_port
from research.models.dataset import columns_of
from research.models.markets import random_walk, write_folder
from research.models.proof import SYMBOLS
from tests.parity.instruments import with_instruments
from tests.parity.replay import Play, _paired, play_back
from tests.support.bot_harness import BotHarness, Servers, sim, trades
from tests.support.models import artefact, needs_training_packages, register
from tests.support.world import BOTS, Process, until

pytestmark = needs_training_packages
BAR_MS = 300_000
START_BAR = 5_200


@dataclass(slots=True)
class Scored:
    """A stage with a live model and its server."""

    stage: BotHarness
    candles: Path
    models: Path
    folder: Path
    server: Process
    url: str
    start_ms: int

    def bot(self, **more: str) -> Process:
        """The bot, not started yet."""
        threshold = Session(read_artefact(self.folder)).manifest.threshold
        variables = {"SHORTSELLER_THRESHOLD": repr(threshold), "MODEL_SERVER_URL": self.url, **more}
        return self.stage.toy("bot", strategy="tests.support.scored_bot:Scored", **variables)  # type: ignore[arg-type]

    async def serving(self) -> None:
        """Wait until the server is ready."""
        async with httpx.AsyncClient(timeout=2) as client:

            async def ready() -> bool:
                if not self.server.running:
                    raise AssertionError(self.server.said()[-2000:])
                try:
                    return (await client.get(f"{self.url}/v2/health/ready")).status_code == 200
                except httpx.TransportError:
                    return False

            await until(ready, 60, "the model server")

    async def rows(self, sql: str) -> list[Any]:
        """Rows of the database."""
        connection = await connect(self.stage.database(), "test")
        try:
            return list(await connection.fetch(sql))
        finally:
            await connection.close()


@pytest.fixture
async def scored(tmp_path: Path, servers: Servers) -> AsyncIterator[Scored]:
    made = [random_walk(70 + place, START_BAR + 400, symbol, effect=1.5) for place, symbol in enumerate(SYMBOLS)]
    candles = with_instruments(write_folder(tmp_path / "made", made), tmp_path / "candles")
    models = tmp_path / "models"
    folder = artefact(models, effect=1.5)
    start_ms = int(made[0].start_ms[START_BAR])
    start = datetime.fromtimestamp(start_ms / 1000, UTC)
    stage = BotHarness(
        tmp_path,
        servers=servers,
        options=(
            *("--replay", str(candles), "--step", "--path", "low-first", "--warmup", str(START_BAR)),
            *("--start", start.strftime("%Y-%m-%dT%H:%M")),
        ),
    )
    await stage.open()
    port = free_port()
    variables = {"MODELS_DIR": str(models), "MODELS_PORT": str(port), "LOG_FORMAT": "json"}
    server = stage.process("model_server", ["-m", "model_server"], variables)
    server.start()
    await register(stage.database(), folder, stage="live")
    made_stage = Scored(stage, candles, models, folder, server, f"http://127.0.0.1:{port}", start_ms)
    await made_stage.serving()
    yield made_stage
    stage.close()


async def test_scores_and_trades_are_the_same_live_and_in_the_back_test(scored: Scored) -> None:
    bars = 120
    session = Session(read_artefact(scored.folder))
    play = Play(
        bot_id="shortseller_001",
        strategy="tests.support.scored_bot:Scored",
        prefix="SHORTSELLER",
        folder=scored.candles,
        start=at(scored.start_ms),
        bars=bars,
        bar_ms=BAR_MS,
        path="low-first",
        parameters={"threshold": repr(session.manifest.threshold)},
        models=(f"proof={scored.folder.name}",),
        models_dir=scored.models,
    )
    back, _ = play_back(play)
    assert len(back.trades) >= 4
    stage, key = scored.stage, BOTS[0].key
    bot = scored.bot()
    await stage.play(bot)
    state = await sim(stage, "POST", "/_sim/advance", to_ms=scored.start_ms + bars * BAR_MS - 1, timeout_s=280)
    assert not state["waiting_for"], bot.said()[-3000:]
    rows, account = await stage.simulator.ledger(key), await stage.simulator.account(key)
    live = _paired(rows, trades(bot), account)
    assert live == back
    stored = await scored.rows("SELECT * FROM trading.predictions ORDER BY symbol, closed_at")
    assert len(stored) >= 2 * (bars - 2)
    features = FeatureSet(session.manifest.features, session.manifest.interval)
    for place, symbol in enumerate(SYMBOLS):
        whole = columns_of(random_walk(70 + place, START_BAR + 400, symbol, effect=1.5))
        there = score_bars(session, symbol, BAR_MS, whole)
        computed = features.compute(whole)
        starts = {int(start): number for number, start in enumerate(whole.start_ms)}
        own = [row for row in stored if row["symbol"] == symbol]
        for row in own:
            number = starts[int(row["closed_at"].timestamp() * 1000) - BAR_MS]
            assert row["score"] == there.values[number] or (row["score"] is None and np.isnan(there.values[number]))
            assert row["features_hash"] == row_hash(computed[number]), "what was sent is what the record gives"
        assert sum(row["outcome"] is not None for row in own) >= bars - 20, "labels ripen"
    await _compared_with_the_exchange(scored)


class _Rows:
    """What `Predictions` needs of a store, over the test's own connection."""

    def __init__(self, scored: Scored) -> None:
        self._scored = scored

    async def rows(self, sql: str, *arguments: object) -> list[dict[str, Any]]:
        return await self._scored.stage.rows(sql, *arguments)


async def _compared_with_the_exchange(scored: Scored) -> None:
    """The hourly check finds all rows as the exchange's candles give them, and one that was changed."""
    [account] = await scored.stage.rows("SELECT DISTINCT account_id FROM trading.predictions")
    predictions = Predictions(
        cast("Store", _Rows(scored)), cast("Account", SimpleNamespace(id=account["account_id"])), "x"
    )
    variables = {name.lower(): value for name, value in scored.stage.simulator.environment().items()}
    gateway = market_gateway(hosts_of(load(ExchangeSettings, env_file=None, **variables)), RateLimiter(None))
    warned: list[str] = []

    async def warn(key: str, text: str, remedy: str = "", level: Level = Level.WARNING) -> None:
        warned.append(key)

    try:
        check = SkewCheck(("proof",), predictions, gateway, warn)
        [model] = await predictions.models(("proof",))
        compared, differing = await check.differences(model)
        assert compared == COMPARED
        assert differing == []
        await scored.stage.sql(
            "UPDATE trading.predictions SET features_hash = 'other' WHERE (symbol, closed_at) = (SELECT symbol, max(closed_at) "
            "FROM trading.predictions WHERE symbol = 'SOLUSDT' GROUP BY 1)"
        )
        compared, differing = await check.differences(model)
        assert len(differing) == 1
        assert differing[0].startswith("SOLUSDT at ")
    finally:
        await gateway.close()
    assert not warned


async def test_without_its_server_a_bot_enters_nothing_leaves_what_it_holds_and_says_so(scored: Scored) -> None:
    stage = scored.stage
    bot = scored.bot(SHORTSELLER_THRESHOLD="0.0", MODEL_DEADLINE_MS="300")
    await stage.play(bot)
    await stage.bars(3)
    assert {row["event"] for row in trades(bot)} == {"entered"}
    assert {row["symbol"] for row in trades(bot)} == set(SYMBOLS)
    scored.server.signal(signal.SIGSTOP)  # hung
    await stage.bars(14)
    exits = [row for row in trades(bot) if row["event"] == "exited"]
    assert {row["symbol"] for row in exits} == set(SYMBOLS), "exits never ask"
    assert len(trades(bot)) == 4, "no score, no entry"
    assert any("did not answer within 300 ms" in text for text in await stage.alerts("model:proof"))
    reasons = await scored.rows("SELECT DISTINCT reason FROM trading.predictions WHERE score IS NULL")
    assert any("late" in row["reason"] for row in reasons)
    scored.server.signal(signal.SIGCONT)
    await scored.serving()
    await stage.bars(2)
    assert len(trades(bot)) == 6, "back with the next bar"
    scored.server.kill()
    await stage.bars(15)
    assert len(trades(bot)) == 8
    scored.server.start()
    await scored.serving()
    await stage.bars(2)
    assert len(trades(bot)) == 10
    model = scored.folder / "model.onnx"
    content = model.read_bytes()
    model.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])

    async def refused() -> bool:
        return '"model_not_served"' in scored.server.said()

    await until(refused, 20, "the changed byte to be seen")
    await stage.bars(15)
    assert len(trades(bot)) == 12
    assert json.loads(scored.server.said().splitlines()[-1])["event"] == "model_not_served"
    await asyncio.to_thread(bot.stop)
