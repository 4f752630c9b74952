"""Several bots in one process: a strategy that hangs, raises or dies touches no other bot and is named."""

import json
import signal
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support.bot_harness import BotHarness, sim
from tests.support.guard_harness import acts, answer, command, flat, guard, wish
from tests.support.world import BOTS, ROOT, Process, until

pytestmark = pytest.mark.timeout(400)
HANGING = "lxalgo_001"


def pack(stage: BotHarness, how: str) -> Process:
    """The three bots in one container, one of which misbehaves once."""
    rows = tomllib.loads((ROOT / "bots.toml").read_text())["bot"]
    for row in rows:
        kind = "HangingToy" if row["id"] == HANGING else "Toy"
        row |= {"container": "pack", "folder": "strategies/momentum", "entry": "trading_system.py"}
        row |= {"strategy": f"tests.support.toy_bot:{kind}"}
    text = ["\n".join(("[[bot]]", *(f"{name} = {json.dumps(value)}" for name, value in row.items()))) for row in rows]
    bots = stage.folder / "bots.toml"
    bots.write_text("\n".join(text) + "\n")
    variables = {**stage.environment("alpha_strategy")}
    for key in BOTS:
        variables |= key.environment()
        variables[f"{key.prefix}_HOLD_BARS"] = "1"
    return stage.process(
        "pack",
        ["-m", "bot_runner"],
        {
            **variables,
            "LXALGO_MARKER": str(stage.folder / "hung"),
            "LXALGO_HOW": how,
            "ALPHA_BOTS_FILE": str(bots),
            "ALPHA_CONTAINER": "pack",
            "ALPHA_STRATEGY_DEADLINE_S": "1",
            "ALPHA_LEASE_SECONDS": "2",
            "ALPHA_STEP_URL": stage.simulator.url,
        },
    )


def said(process: Process, event: str, bot: str = "") -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in process.said().splitlines() if line.startswith("{")]
    return [row for row in rows if row.get("event") == event and bot in ("", row.get("bot"))]


async def joined(stage: BotHarness, process: Process, count: int) -> None:
    """Wait until so many bots have registered with the step clock."""
    for bot in BOTS:
        await sim(stage, "POST", "/_sim/clients", client=bot.bot, remove=True)
    process.start()

    async def all_there() -> bool:
        assert process.running, process.said()[-3000:]
        clients = (await sim(stage, "POST", "/_sim/clients", client="", remove=True))["clients"]
        return len({bot.bot for bot in BOTS} & set(clients)) == count

    await until(all_there, 120, "the bots to join the step clock")


async def entered(stage: BotHarness) -> dict[str, int]:
    """How many fills each account has."""
    return {bot.bot: len(await stage.fills(bot)) for bot in BOTS}


@pytest.mark.parametrize(
    "how", ["hang", pytest.param("raise", marks=pytest.mark.long), pytest.param("exit", marks=pytest.mark.long)]
)
async def test_a_strategy_that_misbehaves_touches_no_other_bot_and_is_named(stage: BotHarness, how: str) -> None:
    process = pack(stage, how)
    await joined(stage, process, 3)
    await stage.bars(8)
    assert (stage.folder / "hung").exists()
    assert process.running
    fills = await entered(stage)
    assert fills["shortseller_001"] == fills["momentum_001"] == 8, "the others entered and left as if nothing was"
    assert fills[HANGING] >= 4, "it went on after it began anew"
    (ended,) = said(process, "bot_ended")
    assert ended["bot"] == HANGING
    assert {"hang": "within 1 s", "raise": "the toy's own fault", "exit": "worker"}[how] in ended["why"]
    assert len(said(process, "started", "shortseller_001")) == 1
    assert len(said(process, "started", HANGING)) == 2
    # the first end is of a process before this one, which may have ended in a fault
    assert await stage.told(f"{HANGING}:ended") == ["over", "critical", "over"]
    assert await stage.lasting(f"{HANGING}:ended")
    assert process.stop() == 0


async def test_stop_and_start_of_one_bot_act_through_its_desired_state(stage: BotHarness, tmp_path: Path) -> None:
    (tmp_path / "hung").touch()
    process = pack(stage, "hang")
    await joined(stage, process, 3)
    await stage.bars(2)
    wish = "UPDATE trading.bots SET wish = $1 WHERE bot_id = 'momentum_001'"
    await stage.sql(wish, "stopped")

    async def stopped() -> bool:
        return len(said(process, "stopped", "momentum_001")) == 1

    await until(stopped, 20, "the bot to stop")
    await sim(stage, "POST", "/_sim/clients", client="momentum_001", remove=True)
    await stage.bars(4)
    fills = await entered(stage)
    assert fills["momentum_001"] == 2
    assert fills["shortseller_001"] == 6
    await stage.sql(wish, "running")

    async def again() -> bool:
        return len(said(process, "started", "momentum_001")) == 2

    await until(again, 20, "the bot to start")
    assert process.stop() == 0


@pytest.mark.long
async def test_the_guard_takes_the_lease_of_a_bot_that_does_not_answer_and_leaves_the_others_alone(
    stage: BotHarness, tmp_path: Path
) -> None:
    (tmp_path / "hung").touch()
    process = pack(stage, "hang")
    await joined(stage, process, 3)
    await stage.bars(1)
    watch = guard(stage, ALPHA_BOTS_FILE=str(stage.folder / "bots.toml"))
    watch.start()
    await acts(watch)
    process.signal(signal.SIGSTOP)
    reply = await answer(stage, await command(stage, "flatten", {"bot": HANGING}))
    assert reply.outcome == "done", reply
    assert "its account is taken from it" in reply.text
    assert await flat(stage, BOTS[1])
    assert not await flat(stage, BOTS[0])
    process.signal(signal.SIGCONT)

    async def given_up() -> bool:
        return any(row["bot"] == HANGING for row in said(process, "bot_ended") + said(process, "stopped"))

    await until(given_up, 30, "the bot to notice that its account is gone")
    await sim(stage, "POST", "/_sim/clients", client=HANGING, remove=True)
    await stage.bars(2)
    fills = await entered(stage)
    assert fills["shortseller_001"] == fills["momentum_001"] == 3
    assert fills[HANGING] == 2, "its entry, and the guard's closing"
    assert process.running
    assert await wish(stage, HANGING) == ("stopped", "guard: flatten by operator:1")
    assert process.stop() == 0


async def test_an_unknown_container_is_a_sentence(stage: BotHarness) -> None:
    process = stage.process(
        "nobody", ["-m", "bot_runner"], {**stage.environment("alpha_strategy"), "ALPHA_CONTAINER": "nobody"}
    )
    process.start()

    async def ended() -> bool:
        return not process.running

    await until(ended, 30, "the process to end")
    assert process.exit_code() == 2
    assert "ALPHA_CONTAINER must be a container of bots.toml, got 'nobody'" in process.said()
