"""Commands over real processes: the supervisor's bots and a guard that replies on its control stream."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from alpha.errors import Rejected, Unknown
from alpha.live_state.read import DataState, Heartbeat, LiveStatus
from bot_control import Process, ProcessState
from demo.processes import Supervisor
from operations import control, history, positions
from operations.context import Operations
from operations.status import BotState, judge, status


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition; the test's own timeout ends the wait."""
    while not await condition():
        await asyncio.sleep(0.02)


async def _state(platform: Operations, name: str) -> BotState:
    return (await status(platform, platform.registry.find(name))).bots[0].state


async def test_a_bot_is_started_stopped_and_started_again_and_the_wish_is_kept(platform: Operations) -> None:
    bot = platform.registry.find("momentum")
    outcome = await control.start(platform, bot, "me")
    assert outcome.done
    await until(lambda: _is(platform, "momentum", BotState.RUNNING))
    outcome = await control.stop(platform, bot, "me")
    assert outcome.text.startswith("momentum_001 is stopped")
    assert await _state(platform, "momentum") is BotState.STOPPED
    assert (await history.desired_states(platform))[bot.id] == "stopped"
    await control.start(platform, bot, "me")
    assert (await history.desired_states(platform))[bot.id] == "running"
    await until(lambda: _is(platform, "momentum", BotState.RUNNING))


async def _is(platform: Operations, name: str, state: BotState) -> bool:
    return await _state(platform, name) is state


async def test_stopping_says_which_positions_stay_and_how_they_are_protected(platform: Operations) -> None:
    said = await control.stop_warning(platform, platform.registry.find("shortseller"))
    assert "BTCUSDT short 0.5: stop 96,000, target 92,000, kept by the exchange." in said
    assert "NO STOP" in await control.stop_warning(platform, platform.registry.find("lxalgo"))
    assert await control.stop_warning(platform, platform.registry.find("momentum")) == "It holds no position."


async def test_a_pause_reaches_the_bot_and_outlives_it(platform: Operations) -> None:
    bot = platform.registry.find("lxalgo")
    await platform.control.start(bot.container)
    outcome = await control.pause(platform, bot, "me")
    assert outcome.done
    assert (await history.desired_states(platform))[bot.id] == "paused"
    await until(lambda: _is(platform, "lxalgo", BotState.PAUSED))
    assert (await control.resume(platform, bot, "me")).done
    await until(lambda: _is(platform, "lxalgo", BotState.RUNNING))


async def test_a_stopped_bot_cannot_be_paused_nor_resumed(platform: Operations) -> None:
    bot = platform.registry.find("lxalgo")
    await history.set_desired_state(platform, bot, "stopped", "me")
    with pytest.raises(Rejected):
        await control.pause(platform, bot, "me")
    with pytest.raises(Rejected, match="/start it first"):
        await control.resume(platform, bot, "me")
    assert (await history.desired_states(platform))[bot.id] == "stopped"


async def test_only_a_position_that_is_there_can_be_adopted(platform: Operations, supervisor: Supervisor) -> None:
    bot = platform.registry.find("shortseller")
    await supervisor.start("shortseller")
    with pytest.raises(Rejected):
        await control.adopt(platform, bot, "ETHUSDT", "me")
    assert (await control.adopt(platform, bot, "BTCUSDT", "me")).done


async def test_flatten_closes_one_bot_and_panic_the_rest_with_progress(
    platform: Operations, supervisor: Supervisor
) -> None:
    await supervisor.start("risk_guard")
    said: list[str] = []

    async def tell(sentence: str) -> None:
        said.append(sentence)

    assert (await control.flatten(platform, platform.registry.find("lxalgo"), None, "me", tell)).done
    assert [row.symbol for row in await positions.positions(platform)] == ["BTCUSDT"]
    assert (await control.panic(platform, "me", tell)).done
    assert await positions.positions(platform) == []
    assert said == ["Halted; 2 orders cancelled."] * 2


async def test_a_command_without_an_answer_ends_as_unknown(
    platform: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "GUARD_ANSWER_S", 1)
    with pytest.raises(Unknown):
        await control.panic(platform, "me")


NOW = datetime(2025, 3, 1, tzinfo=UTC)
RUNS = Process("x", ProcessState.RUNNING, True, "Up")
ENDED = Process("x", ProcessState.EXITED, None, "Exited (1)")
ILL = Process("x", ProcessState.RUNNING, False, "Up (unhealthy)")
STARTING = Process("x", ProcessState.RUNNING, False, "Up", NOW - timedelta(seconds=20))
SYNCED = LiveStatus(DataState.SYNCED, NOW, NOW, NOW, NOW)
STALE = LiveStatus(DataState.STALE, NOW, NOW, NOW, NOW)
BEATS = Heartbeat(NOW - timedelta(seconds=5), "running", "the next bar")
PAUSED = Heartbeat(NOW - timedelta(seconds=5), "paused", "")
SILENT = Heartbeat(NOW - timedelta(minutes=5), "running", "the next bar")


@pytest.mark.parametrize(
    ("answers", "process", "wish", "data", "heartbeat", "state"),
    [
        (True, RUNS, "running", SYNCED, BEATS, BotState.RUNNING),
        (True, RUNS, "running", STALE, BEATS, BotState.RUNNING),
        (True, RUNS, "running", SYNCED, PAUSED, BotState.PAUSED),
        (True, RUNS, "paused", SYNCED, BEATS, BotState.PAUSED),
        (True, RUNS, "stopped", SYNCED, BEATS, BotState.STOPPED),
        (True, ENDED, "stopped", SYNCED, BEATS, BotState.STOPPED),
        (True, ENDED, "running", SYNCED, BEATS, BotState.STOPPED),
        (True, None, "running", SYNCED, None, BotState.STOPPED),
        (True, RUNS, "running", SYNCED, SILENT, BotState.UNHEALTHY),
        (True, RUNS, "paused", SYNCED, SILENT, BotState.UNHEALTHY),
        (True, RUNS, "running", SYNCED, None, BotState.UNHEALTHY),
        (True, ILL, "running", SYNCED, BEATS, BotState.UNHEALTHY),
        (True, STARTING, "running", SYNCED, None, BotState.RUNNING),
        (True, STARTING, "stopped", SYNCED, None, BotState.STOPPED),
        (False, None, "running", SYNCED, BEATS, BotState.RUNNING),
        (False, None, "running", SYNCED, SILENT, BotState.UNHEALTHY),
        (False, None, "running", None, None, BotState.UNKNOWN),
    ],
)
def test_the_state_of_a_bot_follows_from_all_that_is_known(
    answers: bool,
    process: Process | None,
    wish: str,
    data: LiveStatus | None,
    heartbeat: Heartbeat | None,
    state: BotState,
) -> None:
    assert judge(answers, process, wish, data, heartbeat, NOW)[0] is state


async def test_the_share_of_unrealised_is_summed(platform: Operations) -> None:
    assert positions.total_unrealised(await positions.positions(platform)) == Decimal(481)
