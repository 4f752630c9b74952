"""The operator's commands in the terminal, as a process: tables, JSON and correct exit codes."""

import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from alpha.config.services import DatabaseSettings
from demo.processes import Supervisor
from demo.redis import EmbeddedRedis
from operations import history
from operations.access_code import is_hash, matches
from operations.context import Operations
from tests.support import forkserver
from tests.support.operations import PASSWORDS, ROOT

Run = Callable[..., Coroutine[Any, Any, tuple[int, str, str]]]


@pytest.fixture
def alpha(house_database: DatabaseSettings, redis_server: EmbeddedRedis, platform: Operations, tmp_path: Path) -> Run:
    """Runs `alpha ...`; returns exit code, standard output and standard error."""
    environment = {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "USER", "LOGNAME")},
        **redis_server.environment(),
        "PYTHONPATH": str(ROOT),
        "POSTGRES_HOST": house_database.postgres_host,
        "POSTGRES_PORT": str(house_database.postgres_port),
        "POSTGRES_DB": house_database.postgres_db,
        "POSTGRES_USER": "alpha_c2",
        "POSTGRES_PASSWORD": PASSWORDS["alpha_c2"],
        "ALPHA_BOTS_FILE": str(ROOT / "bots.toml"),
        "BOT_CONTROL_URL": f"supervisor://{tmp_path / 'supervisor.sock'}",
    }

    async def alpha(*words: str, typed: str = "", **more: str) -> tuple[int, str, str]:
        done = await asyncio.to_thread(
            forkserver.run, ["-m", "alpha", *words], cwd=tmp_path, environment=environment | more, typed=typed
        )
        return done.returncode, done.stdout, done.stderr

    return alpha


async def test_status_and_its_json_say_the_same(alpha: Run) -> None:
    code, text, _ = await alpha("status")
    assert code == 0
    assert "shortseller" in text
    assert "+500.00" in text
    code, text, _ = await alpha("status", "--json")
    seen = json.loads(text)
    assert [bot["bot"] for bot in seen["bots"]] == ["shortseller_001", "lxalgo_001", "momentum_001"]
    assert seen["bots"][0]["unrealised_pnl"] == "500"


async def test_analytics_of_a_period_in_json_are_amounts_as_texts(alpha: Run) -> None:
    code, text, _ = await alpha("analytics", "momentum", "2024-12", "--json")
    assert code == 0
    (figures,) = json.loads(text)["performance"]
    assert isinstance(figures["net"], str)
    assert figures["trips"] > 0


async def test_a_bot_is_stopped_after_a_yes_and_left_alone_after_a_no(
    alpha: Run, supervisor: Supervisor, platform: Operations
) -> None:
    await supervisor.start("momentum")
    code, _, said = await alpha("stop", "momentum", typed="n\n")
    assert code == 1
    assert "Stop momentum_001?" in said
    assert supervisor.processes["momentum"].state == "running"
    code, out, _ = await alpha("stop", "momentum", typed="y\n")
    assert code == 0
    assert "momentum_001 is stopped" in out
    assert supervisor.processes["momentum"].state == "exited"
    rows = await history.commands(platform)
    assert [(row.source, row.name, row.bot, row.outcome) for row in rows] == [
        ("terminal", "stop", "momentum_001", "done"),
        ("terminal", "stop", "momentum_001", "refused"),
    ]


async def test_what_was_declined_or_refused_is_a_row_of_the_audit(alpha: Run, platform: Operations) -> None:
    # First what looks at the live state: on a busy machine that is too old after two further commands.
    refused, _, said = await alpha("flatten", "ss", "BTCUSD")
    declined, _, _ = await alpha("pause", "mo", typed="n\n")
    nobody, _, _ = await alpha("restart", "momentum")
    assert 0 not in (declined, nobody, refused)
    assert "It holds: BTCUSDT" in said
    rows = await platform.history.rows("SELECT name, outcome, bot_id FROM audit.commands ORDER BY issued_at")
    assert [tuple(row) for row in rows] == [
        ("flatten", "refused", "shortseller_001"),
        ("pause", "refused", "momentum_001"),
        ("restart", "refused", "momentum_001"),
    ]


@pytest.mark.parametrize(
    ("words", "more", "code", "said"),
    [
        (("positions", "nobody"), {}, 1, "no bot 'nobody'"),
        (("stop",), {}, 1, "needs a bot"),
        (("daily", "0"), {}, 1, "Row count must be between"),
        (("analytics", "soon"), {}, 1, "soon"),
        (("nonsense",), {}, 2, "No such command"),
        (("positions",), {"REDIS_PORT": "9"}, 1, "REDIS_PORT"),
        (("trades",), {"POSTGRES_PORT": "9"}, 1, "POSTGRES_PORT"),
        (("trades",), {"POSTGRES_PASSWORD": "wrong"}, 2, "POSTGRES_PASSWORD"),
        (("positions",), {"REDIS_PASSWORD": ""}, 2, "REDIS_PASSWORD is not set"),
        (("status",), {"ALPHA_TIMEZONE": "Mars"}, 2, "ALPHA_TIMEZONE"),
        (("trade", "0000000000"), {}, 1, ". alpha trades lists them"),
        (("daily", "14", "lxalgo", "15"), {}, 1, "alpha daily does not understand"),
        (("logs", "lxalgo"), {"BOT_CONTROL_URL": "unix:///nowhere.sock"}, 1, "BOT_CONTROL_URL"),
    ],
)
async def test_a_fault_is_one_sentence_and_an_exit_code(
    alpha: Run, words: tuple[str, ...], more: dict[str, str], code: int, said: str
) -> None:
    ended, _, err = await alpha(*words, **more)
    assert ended == code
    assert said in err
    assert "Traceback" not in err


async def test_an_access_code_becomes_a_hash_that_only_it_matches(alpha: Run) -> None:
    code, out, _ = await alpha("access-code", typed="open sesame\n")
    assert code == 0
    name, _, hashed = out.strip().partition("=")
    assert name == "C2_TELEGRAM_ACCESS_CODE_HASH"
    assert is_hash(hashed)
    assert matches("open sesame", hashed)
    assert not matches("open  sesame!", hashed)
    code, _, err = await alpha("access-code", typed="short\n")
    assert code == 2
    assert "at least 6" in err
