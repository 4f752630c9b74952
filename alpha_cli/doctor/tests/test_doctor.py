"""The doctor as a process: it names each fault and its remedy, and its exit code is correct."""

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path

from tests.support import forkserver
from tests.support.bot_harness import BotHarness, Servers
from tests.support.world import BOTS, ROOT


async def examined(folder: Path, variables: Mapping[str, str]) -> tuple[int, list[dict[str, str]]]:
    """Exit code and findings of the doctor with only these settings."""
    done = await asyncio.to_thread(
        forkserver.run,
        ["-m", "alpha", "doctor", "--json"],
        cwd=folder,
        environment={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "ALPHA_BOTS_FILE": str(ROOT / "bots.toml"),
            "BOT_CONTROL_URL": "supervisor:///nonexistent/s.sock",
            **variables,
        },
    )
    assert "Traceback" not in done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


async def test_where_nothing_answers_each_part_is_named_with_its_remedy(tmp_path: Path) -> None:
    dead = "127.0.0.1:9"
    code, findings = await examined(
        tmp_path,
        {
            "BYBIT_REST_URL": f"http://{dead}",
            "BYBIT_WS_URL": f"ws://{dead}",
            "POSTGRES_HOST": "127.0.0.1",
            "POSTGRES_PORT": "9",
            "POSTGRES_PASSWORD": "x",
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": "9",
            "REDIS_PASSWORD": "x",
        },
    )
    assert code == 1
    faults = {row["subject"]: f"{row['text']} {row['remedy']}" for row in findings if row["outcome"] == "fault"}
    for subject, remedy in {
        "exchange": "BYBIT_REST_URL",
        "keys": "alpha init",
        "database": "POSTGRES_HOST",
        "redis": "REDIS_HOST",
    }.items():
        assert remedy in faults[subject], findings


async def test_a_wrong_setting_is_a_fault_and_the_rest_is_looked_at_all_the_same(tmp_path: Path) -> None:
    code, findings = await examined(tmp_path, {"BYBIT_DEMO": "true", "BYBIT_TESTNET": "true", "REDIS_PORT": "abc"})
    assert code == 1
    said = " ".join(row["text"] for row in findings if row["subject"] == "settings")
    for setting in ("BYBIT_TESTNET", "REDIS_PORT", "POSTGRES_PASSWORD"):
        assert setting in said
    assert findings[-1]["subject"] == "bot control"


async def test_where_all_answers_nothing_is_to_mend(tmp_path: Path, servers: Servers) -> None:
    stage = BotHarness(tmp_path, servers=servers)
    await stage.open()
    try:
        keys = {name: value for bot in BOTS for name, value in {**bot.environment(), **bot.reading()}.items()}
        variables = {**stage.environment("alpha_readonly"), **keys}
        code, findings = await examined(tmp_path, variables)
        ok = {row["subject"] for row in findings if row["outcome"] == "ok"}
        assert {"exchange", "database", "migrations", "redis", "shortseller", "lxalgo", "momentum"} <= ok, findings
        # There is no bot supervisor here; that is the only fault.
        assert [row["subject"] for row in findings if row["outcome"] == "fault"] in ([], ["bot control"])
        assert sum("with a key that cannot trade" in row["text"] for row in findings) == len(BOTS)
        # One bot's key under another bot's variables: the same account twice.
        twice = {"LXALGO_BYBIT_API_KEY": BOTS[0].key, "LXALGO_BYBIT_API_SECRET": BOTS[0].secret}
        code, findings = await examined(tmp_path, {**variables, **twice})
        assert code == 1
        assert any("One account has one bot" in row["remedy"] for row in findings), findings
    finally:
        stage.close()


async def test_a_key_to_read_with_that_may_trade_is_weaker_and_one_of_another_account_is_wrong(
    tmp_path: Path, servers: Servers
) -> None:
    stage = BotHarness(tmp_path, servers=servers)
    await stage.open()
    try:
        first, second = BOTS[:2]
        variables = {**stage.environment("alpha_readonly"), **first.environment()}

        async def said(**more: str) -> dict[str, str]:
            """Outcome to text of the findings about the bot's read-only key."""
            _, findings = await examined(tmp_path, {**variables, **more})
            rows = [row for row in findings if row["subject"] == "shortseller"]
            assert all(row["remedy"] for row in rows if row["outcome"] != "ok")
            return {row["outcome"]: row["text"] for row in rows if "listener" in row["text"] or "reads" in row["text"]}

        # The manual's plain .env with one key works, and the report says what is weaker.
        assert "hold a key that may trade" in (await said())["note"]
        assert "no key" in (await said(ALPHA_SECRETS="files"))["fault"]
        foreign = dict(zip(first.reading(), second.reading().values(), strict=True))
        assert "is of the account" in (await said(**foreign))["fault"]
        assert set(await said(**first.reading())) == {"ok"}
    finally:
        stage.close()


async def test_a_flat_account_in_hedge_mode_is_reported_and_may_be_watched(tmp_path: Path, servers: Servers) -> None:
    hedge, mnt, _ = BOTS
    stage = BotHarness(tmp_path, servers=servers, accounts_are={hedge.bot: "hedge", mnt.bot: "mnt=100"})
    await stage.open()
    try:
        keys = {**hedge.environment(), **mnt.environment()}
        code, findings = await examined(tmp_path, {**stage.environment("alpha_readonly"), **keys})
        assert code == 1
        outcomes = {row["text"]: row["outcome"] for row in findings}
        assert [each for text, each in outcomes.items() if "hedge mode (BTCUSDT, ETHUSDT)" in text] == ["fault"], (
            findings
        )
        assert [each for text, each in outcomes.items() if "pays its fees in MNT" in text] == ["note"], findings
        _, findings = await examined(tmp_path, {**stage.environment("alpha_readonly"), **hedge.reading()})
        (hedged,) = [row for row in findings if "hedge mode" in row["text"]]
        assert hedged["outcome"] == "note", "a key that only reads records both legs"
    finally:
        stage.close()
