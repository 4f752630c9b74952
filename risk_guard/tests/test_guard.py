"""Faults that a guard is there for, each with the real process on the simulated exchange."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from alpha.demo.api import SupervisorApi
from alpha.demo.processes import Spec, State, Supervisor, base_environment
from risk_guard.tests.post import BOT, Hands, acts, answer, command, events, flat, guard, halts
from tests.runtime.stage import Servers, Stage
from tests.stack.world import BOTS, until


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    both = Servers()
    both.start()
    yield both
    both.stop()


@pytest.fixture
async def stage(tmp_path: Path, servers: Servers) -> AsyncIterator[Stage]:
    made = Stage(tmp_path, speed="1", servers=servers)
    await made.open()
    yield made
    made.close()


@pytest.fixture
async def hands(stage: Stage) -> AsyncIterator[Hands]:
    made = Hands(stage)
    yield made
    await made.close()


async def stop_of(hands: Hands, symbol: str) -> float:
    position = await hands.position(symbol)
    return float(position["stopLoss"] or 0) if position else -1.0


async def test_a_stop_that_was_removed_is_set_again_where_the_dead_bot_remembered_it(
    stage: Stage, hands: Hands
) -> None:
    process = guard(stage)
    process.start()
    await acts(process)
    price = await hands.price("BTCUSDT")
    wanted = f"{price * 0.97:.1f}"
    await hands.remember("BTCUSDT", "Buy", wanted)
    await hands.open("BTCUSDT", "Buy", "0.05")

    async def protected() -> bool:
        return await stop_of(hands, "BTCUSDT") == pytest.approx(float(wanted), abs=0.2)

    await until(protected, 30, "the stop")


async def test_a_trailing_stop_that_is_not_active_yet_gets_a_plain_stop_beside_it(stage: Stage, hands: Hands) -> None:
    process = guard(stage, GUARD_PROTECT_MANUAL="true")
    process.start()
    await acts(process)
    price = await hands.price("ETHUSDT")
    await hands.open("ETHUSDT", "Buy", "1")
    await hands.stop_at("ETHUSDT", trailingStop=f"{price * 0.02:.2f}", activePrice=f"{price * 1.5:.2f}")

    async def protected() -> bool:
        return await stop_of(hands, "ETHUSDT") > price * 0.85

    await until(protected, 30, "the plain stop")
    position = await hands.position("ETHUSDT")
    assert position is not None
    assert float(position["trailingStop"]) > 0


async def test_a_position_whose_stop_the_market_has_passed_is_closed(stage: Stage, hands: Hands) -> None:
    process = guard(stage)
    process.start()
    await acts(process)
    price = await hands.price("BTCUSDT")
    await hands.remember("BTCUSDT", "Buy", f"{price * 1.01:.1f}")
    await hands.open("BTCUSDT", "Buy", "0.05")
    await until(lambda: flat(stage), 30, "the position to be closed")


async def test_a_position_opened_by_hand_is_reported_and_left_alone(stage: Stage, hands: Hands) -> None:
    process = guard(stage)
    process.start()
    await acts(process)
    await hands.open("SOLUSDT", "Sell", "5", by_bot=False)

    async def reported() -> bool:
        return any("opened by hand" in row["text"] for row in events(process, "alert"))

    await until(reported, 30, "the report")
    assert await stop_of(hands, "SOLUSDT") == 0.0


async def test_an_observing_guard_says_what_it_would_have_done_and_sends_nothing(stage: Stage, hands: Hands) -> None:
    process = guard(stage, GUARD_OBSERVE="true", GUARD_PROTECT_MANUAL="true")
    process.start()
    await acts(process)
    await hands.open("BTCUSDT", "Buy", "0.05")

    async def said() -> bool:
        return any("would have been given a stop" in row["text"] for row in events(process, "alert"))

    await until(said, 30, "the alert")
    assert await stop_of(hands, "BTCUSDT") == 0.0
    reply = await answer(stage, await command(stage, "flatten", {"bot": BOT.bot}))
    assert "would have closed" in reply.text
    assert await hands.position("BTCUSDT") is not None


async def test_flatten_closes_a_bot_that_goes_on_entering_and_halts_it(stage: Stage, hands: Hands) -> None:
    process = guard(stage)
    process.start()
    await acts(process)
    await hands.open("BTCUSDT", "Buy", "0.2")
    await hands.open("ETHUSDT", "Sell", "3")
    await hands.order("SOLUSDT", "Buy", "10", orderType="Limit", price=f"{await hands.price('SOLUSDT') * 0.9:.1f}")
    sent = await command(stage, "flatten", {"bot": BOT.bot})
    for _ in range(8):
        await hands.open("BTCUSDT", "Buy", "0.02")
        await asyncio.sleep(0.05)
    reply = await answer(stage, sent)
    assert reply.outcome == "done", reply
    assert await flat(stage)
    assert ("flatten", BOT.bot) in await halts(stage)
    for row in await stage.fills():
        assert row["execType"] == "Trade"
    lifted = await answer(stage, await command(stage, "lift", {"bot": BOT.bot}))
    assert lifted.outcome == "done"
    assert await halts(stage) == []


async def test_panic_leaves_every_account_flat_with_half_the_calls_failing(stage: Stage) -> None:
    process = guard(stage)
    process.start()
    await acts(process)
    for bot in BOTS:
        own = Hands(stage, bot)
        await own.open("BTCUSDT", "Buy", "0.1")
        await own.open("ETHUSDT", "Sell", "2")
        await own.close()
    await stage.fault(kind="answer", path="/v5/order", ret_code=10006, ret_msg="Too many visits!", every=3)
    await stage.fault(kind="answer", path="/v5/order/create", nothing=True, after=True, every=4)
    await stage.fault(kind="answer", path="/v5/position/list", status=502, every=3)
    reply = await answer(stage, await command(stage, "panic", {}), wait_s=100)
    assert reply.outcome == "done", reply
    for bot in BOTS:
        assert await flat(stage, bot)
        rows = [row for row in await stage.fills(bot) if row["symbol"] == "BTCUSDT"]
        bought = sum(float(row["execQty"]) for row in rows if row["side"] == "Buy")
        sold = sum(float(row["execQty"]) for row in rows if row["side"] == "Sell")
        assert bought == pytest.approx(sold)
        assert bought == pytest.approx(0.1), "nothing was closed twice or reversed"


async def test_a_guard_killed_in_the_middle_of_a_flatten_goes_on_after_its_restart(stage: Stage, hands: Hands) -> None:
    process = guard(stage, GUARD_CONFIRM_S="6")
    process.start()
    await acts(process)
    await hands.open("BTCUSDT", "Buy", "0.2")
    await stage.fault(kind="answer", path="/v5/order/create", ret_code=10006, ret_msg="Too many visits!", key=BOT.key)
    await command(stage, "flatten", {"bot": BOT.bot})

    async def hindered() -> bool:
        return bool(events(process, "closing_hindered"))

    await until(hindered, 30, "the flatten to be hindered")
    process.kill()
    await stage.fault_free()
    again = guard(stage, "guard-again")
    again.start()
    await until(lambda: flat(stage), 60, "the second guard to close what the first could not")
    assert events(again, "closing_goes_on")


async def test_of_two_guards_only_one_acts(stage: Stage, hands: Hands) -> None:
    first, second = guard(stage, "first"), guard(stage, "second")
    first.start()
    await acts(first)
    second.start()

    async def waits() -> bool:
        return bool(events(second, "started"))

    await until(waits, 30, "the second guard to start")
    await hands.open("BTCUSDT", "Buy", "0.1")
    reply = await answer(stage, await command(stage, "flatten", {"bot": BOT.bot}))
    assert reply.outcome == "done"
    closing = [row for row in await stage.fills() if row["side"] == "Sell"]
    assert sum(float(row["execQty"]) for row in closing) == pytest.approx(0.1)
    assert not events(second, "lease_taken")


async def test_a_bot_that_hangs_is_stopped_before_its_positions_are_closed(
    stage: Stage, hands: Hands, tmp_path: Path
) -> None:
    supervisor = Supervisor(tmp_path / "logs", tmp_path)
    supervisor.add(
        Spec("shortseller", "bot", [sys.executable, "-c", "import signal; signal.pause()"], base_environment())
    )
    api = SupervisorApi(supervisor, tmp_path / "supervisor.sock")
    await api.open()
    process = guard(stage, BOT_CONTROL_URL=f"supervisor://{tmp_path / 'supervisor.sock'}")
    try:
        process.start()
        await acts(process)
        await hands.open("BTCUSDT", "Buy", "0.1")
        reply = await answer(stage, await command(stage, "flatten", {"bot": BOT.bot}))
        assert reply.outcome == "done"
        assert await flat(stage)
        assert supervisor.processes["shortseller"].state is State.EXITED
    finally:
        process.stop()
        await supervisor.close([])
        await api.close()


async def test_a_loss_beyond_the_days_limit_halts_entries_and_the_reference_survives_a_restart(
    stage: Stage, hands: Hands
) -> None:
    listener = stage.listener()
    listener.start()
    process = guard(stage)
    process.start()
    await acts(process)

    async def judged() -> bool:
        row = await stage.guard_row("limits", BOT.bot)
        return bool(row and row["book"]["references"])

    await until(judged, 60, "the guard's reference")
    process.kill()
    # A week ago the account held twice as much: the reference is what the guard remembers, not what it sees now.
    await stage.sql(
        "UPDATE trading.guard_state SET state = jsonb_set(state, '{book,references,day}', '\"200000\"') WHERE name = 'limits'"
    )
    again = guard(stage, "again")
    again.start()

    async def halted() -> bool:
        return ("no_entries", BOT.bot) in await halts(stage)

    await until(halted, 60, "the halt")


@pytest.mark.parametrize("away", ["redis", "postgres"])
async def test_panic_goes_on_while_a_store_is_away(tmp_path: Path, away: str) -> None:
    stage = Stage(tmp_path, speed="1")
    await stage.open()
    hands = Hands(stage)
    try:
        process = guard(stage)
        process.start()
        await acts(process)
        await hands.open("BTCUSDT", "Buy", "0.1")
        if away == "postgres":
            stage.servers.postgres.stop("immediate")
        await stage.fault(
            kind="answer", path="/v5/order/create", ret_code=10006, ret_msg="Too many visits!", key=BOT.key
        )
        await command(stage, "panic", {})

        async def taken() -> bool:
            return bool(events(process, "command"))

        await until(taken, 30, "the guard to take the command")
        if away == "redis":
            stage.servers.redis.kill()
        await stage.fault_free()
        await until(lambda: flat(stage), 60, f"the account to be flat without {away}")
    finally:
        await hands.close()
        stage.close()
