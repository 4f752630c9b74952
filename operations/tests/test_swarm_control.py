"""Commands where a swarm keeps the processes: through the desired state, without seeing or controlling a container."""

import asyncio
from datetime import UTC

import pytest

from alpha.clock import wall_ms
from alpha.errors import Rejected
from alpha.live_state import keys
from alpha.registry import Bot
from bot_control.desired_state import DesiredState
from operations import control, health, history, shared_control
from operations.context import Operations
from operations.inventory import versions
from operations.status import BotState, status


@pytest.fixture
def swarm(platform: Operations) -> Operations:
    """The same system under a swarm."""
    return Operations(platform.registry, platform.live, platform.history, DesiredState(), UTC)


async def _beat(platform: Operations, bot: Bot, state: str) -> None:
    await platform.live.of(bot).hset(
        keys.heartbeat(bot.id), mapping={"alive_at": str(wall_ms()), "state": state, "waits_for": ""}
    )


async def _follow(platform: Operations, bot: Bot, seen: list[str]) -> None:
    """What a bot's process does: say which desired state it follows."""
    while True:
        wish = (await history.desired_states(platform)).get(bot.id, "running")
        if not seen or seen[-1] != wish:
            seen.append(wish)
        await _beat(platform, bot, wish)
        await asyncio.sleep(0.02)


async def test_a_bot_stops_starts_and_restarts_by_its_desired_state(swarm: Operations) -> None:
    bot, seen = swarm.registry.find("momentum"), list[str]()
    process = asyncio.create_task(_follow(swarm, bot, seen))
    try:
        outcome = await control.stop(swarm, bot, "me")
        assert outcome.done
        assert outcome.text.startswith("momentum_001 is stopped and stays stopped")
        assert (await status(swarm, bot)).bots[0].state is BotState.STOPPED
        assert (await control.start(swarm, bot, "me")).done
        assert (await history.desired_states(swarm))[bot.id] == "running"
        while seen[-1] != "running":  # its process has read it
            await asyncio.sleep(0.02)
        outcome = await control.restart(swarm, bot, "me")
        assert outcome.done, outcome.text
        while seen[-1] != "running":
            await asyncio.sleep(0.02)
    finally:
        process.cancel()
    assert seen[-3:] == ["running", "stopped", "running"]


async def test_a_process_that_does_not_answer_is_said_not_to_have_stopped(
    swarm: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_control, "CONFIRM_S", 0.3)
    outcome = await control.stop(swarm, swarm.registry.find("momentum"), "me")
    assert not outcome.done
    assert "/flatten momentum_001 takes the account from it" in outcome.text


async def test_what_cannot_be_seen_is_no_fault_and_what_cannot_be_done_says_how(swarm: Operations) -> None:
    bot = swarm.registry.find("momentum")
    await _beat(swarm, bot, "running")
    seen = await status(swarm, bot)
    assert seen.faults == []
    assert seen.services == []
    assert seen.bots[0].state is BotState.RUNNING
    row = next(row for row in await health.health(swarm) if row.part == "bot control")
    assert row.well
    assert "docker service ls" in row.detail
    assert (await versions(swarm)).faults == []
    with pytest.raises(Rejected, match="docker service logs --tail 20 alpha_momentum"):
        await swarm.control.logs("momentum", 20)
    with pytest.raises(Rejected):
        await swarm.control.stop("momentum")
