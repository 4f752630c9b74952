"""The faults a guard exists for, each with the real process on the simulated exchange."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from alpha.clock import wall_ms
from alpha.live_state.connect import RedisClients
from alpha.live_state.control import CommandConsumer
from alpha.process import end_tasks
from demo.api import SupervisorApi
from demo.processes import Spec, State, Supervisor, base_environment
from tests.support.bot_harness import BotHarness, sim
from tests.support.guard_harness import (
    BOT,
    Hands,
    Witness,
    acts,
    answer,
    command,
    events,
    flat,
    guard,
    halts,
    never_reversed,
    wish,
)
from tests.support.stalling import Stalling
from tests.support.world import BOTS, until

#: Nothing is unprotected for longer than 90 s: a patrol of 60 s plus 30 s for a recheck, slow calls and a restart.
#: The patrol interval is one second here, so the bound is 31 s.
LONGEST_S = 1 + 30


@pytest.fixture
async def safe(stage: BotHarness) -> AsyncIterator[None]:
    """Asserts in every test that no position is unprotected for longer than that and the guard reverses nothing."""
    async with Witness(stage) as witness:
        yield
    assert witness.longest_s <= LONGEST_S
    for bot in BOTS:
        await never_reversed(stage, bot)


def listening_of(pid: int) -> set[str]:
    """The addresses on which a process listens, in the kernel's notation."""
    inodes = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(f"/proc/{pid}/fd/{fd}").removeprefix("socket:[").removesuffix("]"))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            row = line.split()
            if row[3] == "0A" and row[9] in inodes:
                found.add(row[1])
    return found


@pytest.fixture
async def hands(stage: BotHarness) -> AsyncIterator[Hands]:
    made = Hands(stage)
    yield made
    await made.close()


async def stop_of(hands: Hands, symbol: str) -> float:
    position = await hands.position(symbol)
    return float(position["stopLoss"] or 0) if position else -1.0


@pytest.mark.usefixtures("safe")
async def test_a_stop_that_was_removed_is_set_again_where_the_dead_bot_remembered_it(
    stage: BotHarness, hands: Hands
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


@pytest.mark.usefixtures("safe")
async def test_a_trailing_stop_that_is_not_active_yet_gets_a_plain_stop_beside_it(
    stage: BotHarness, hands: Hands
) -> None:
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


@pytest.mark.usefixtures("safe")
async def test_a_stop_for_half_the_size_becomes_one_for_the_whole(stage: BotHarness, hands: Hands) -> None:
    process = guard(stage)
    process.start()
    await acts(process)
    price = await hands.price("BTCUSDT")
    await hands.remember("BTCUSDT", "Buy", f"{price * 0.96:.1f}")
    await hands.open("BTCUSDT", "Buy", "0.1")
    half = {"tpslMode": "Partial", "slSize": "0.05", "stopLoss": f"{price * 0.97:.1f}", "slOrderType": "Market"}
    await hands.stop_at("BTCUSDT", **half)

    async def protected() -> bool:
        return await stop_of(hands, "BTCUSDT") == pytest.approx(price * 0.96, rel=1e-4)

    await until(protected, 30, "the stop for the whole position")


@pytest.mark.usefixtures("safe")
async def test_a_bot_that_died_before_it_could_remember_its_position_is_protected_all_the_same(
    stage: BotHarness, hands: Hands
) -> None:
    process = guard(stage)
    process.start()
    await acts(process)
    await hands.open("SOLUSDT", "Sell", "5", by_bot=False)
    await hands.open("BTCUSDT", "Buy", "0.05")
    price = await hands.price("BTCUSDT")

    async def protected() -> bool:
        return await stop_of(hands, "BTCUSDT") == pytest.approx(price * 0.9, rel=0.01)

    await until(protected, 30, "the stop at the emergency distance")
    assert await stop_of(hands, "SOLUSDT") == 0.0, "what was opened by hand is left alone"
    await hands.order("SOLUSDT", "Buy", "5")


@pytest.mark.usefixtures("safe")
async def test_a_position_whose_stop_the_market_has_passed_is_closed(stage: BotHarness, hands: Hands) -> None:
    process = guard(stage)
    process.start()
    await acts(process)
    price = await hands.price("BTCUSDT")
    await hands.remember("BTCUSDT", "Buy", f"{price * 1.01:.1f}")
    await hands.open("BTCUSDT", "Buy", "0.05")
    await until(lambda: flat(stage), 30, "the position to be closed")


@pytest.mark.usefixtures("safe")
async def test_a_position_opened_by_hand_is_reported_and_left_alone(stage: BotHarness, hands: Hands) -> None:
    process = guard(stage)
    process.start()
    await acts(process)
    await hands.open("SOLUSDT", "Sell", "5", by_bot=False)

    async def reported() -> bool:
        return any("opened by hand" in row["text"] for row in events(process, "alert"))

    await until(reported, 30, "the report")
    assert await stop_of(hands, "SOLUSDT") == 0.0


@pytest.mark.usefixtures("safe")
async def test_an_observing_guard_says_what_it_would_have_done_and_sends_nothing(
    stage: BotHarness, hands: Hands
) -> None:
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


@pytest.mark.usefixtures("safe")
async def test_flatten_closes_a_bot_that_goes_on_entering_and_halts_it(stage: BotHarness, hands: Hands) -> None:
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


@pytest.mark.usefixtures("safe")
async def test_panic_leaves_every_account_flat_with_half_the_calls_failing(stage: BotHarness) -> None:
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


@pytest.mark.usefixtures("safe")
async def test_a_guard_killed_in_the_middle_of_a_flatten_goes_on_after_its_restart(
    stage: BotHarness, hands: Hands
) -> None:
    process = guard(stage, GUARD_CONFIRM_S="6")
    process.start()
    await acts(process)
    await hands.open("BTCUSDT", "Buy", "0.2")
    await stage.fault(kind="answer", path="/v5/order/create", ret_code=10006, ret_msg="Too many visits!", key=BOT.key)
    sent = await command(stage, "flatten", {"bot": BOT.bot}, valid_ms=4_000)
    expired_ms = wall_ms() + 4_000

    async def hindered() -> bool:
        return bool(events(process, "closing_hindered"))

    await until(hindered, 30, "the flatten to be hindered")
    process.kill()

    async def expired() -> bool:
        return wall_ms() > expired_ms

    await until(expired, 10, "the command to be too old to be begun")
    await stage.fault_free()
    again = guard(stage, "guard-again")
    again.start()
    await until(lambda: flat(stage), 60, "the second guard to close what the first could not")
    # From its saved state or from the unanswered command, whichever it reads first.
    assert events(again, "closing_goes_on") or events(again, "command")
    reply = await answer(stage, sent)
    assert reply.outcome == "done", "what was begun is answered with how it ended, however old it is"

    async def forgotten() -> bool:
        return await stage.guard_row("closing", BOT.bot) is None

    await until(forgotten, 30, "the closing to be over for good")
    orders = {row["orderId"] for row in await stage.fills() if row["orderLinkId"].startswith("g-")}
    assert len(orders) == 1, "closed once"


@pytest.mark.usefixtures("safe")
async def test_a_command_that_is_too_old_is_answered_and_not_run(stage: BotHarness, hands: Hands) -> None:
    process = guard(stage)
    await hands.open("BTCUSDT", "Buy", "0.05")
    sent = await command(stage, "panic", {}, valid_ms=-1)
    process.start()
    await acts(process)
    assert (await answer(stage, sent)).outcome == "expired"
    assert await hands.position("BTCUSDT") is not None
    assert await halts(stage) == []


@pytest.mark.usefixtures("safe")
async def test_of_two_guards_only_one_acts_and_the_other_takes_over(stage: BotHarness, hands: Hands) -> None:
    # The lease is as long as in production: what is measured is the takeover.
    pair = [guard(stage, name, GUARD_LEASE_S="3") for name in ("first", "second")]
    for process in pair:
        process.start()

    async def one_acts() -> bool:
        return any(len(events(process, "acts")) == len(BOTS) for process in pair)

    await until(one_acts, 40, "one of the guards to act for every bot")
    pair.sort(key=lambda process: not events(process, "acts"))
    first, second = pair
    await hands.open("BTCUSDT", "Buy", "0.1")
    reply = await answer(stage, await command(stage, "flatten", {"bot": BOT.bot}))
    assert reply.outcome == "done"
    closing = [row for row in await stage.fills() if row["side"] == "Sell"]
    assert sum(float(row["execQty"]) for row in closing) == pytest.approx(0.1)
    assert not events(second, "acts"), "all accounts are with one guard"
    assert not events(second, "command")
    first.kill()

    async def acts_too() -> bool:
        return len(events(second, "acts")) == len(BOTS)

    await until(acts_too, 5, "the other guard to begin within five seconds")
    await hands.open("ETHUSDT", "Buy", "1")

    async def protected() -> bool:
        return await stop_of(hands, "ETHUSDT") > 0

    await until(protected, LONGEST_S, "the other guard to protect what the first cannot")


@pytest.mark.usefixtures("safe")
async def test_a_guard_that_was_frozen_and_replaced_sends_nothing_any_more(stage: BotHarness, hands: Hands) -> None:
    first, second = guard(stage, "first"), guard(stage, "second")
    first.start()
    await acts(first)
    second.start()
    await hands.open("BTCUSDT", "Buy", "0.2")
    await stage.fault(kind="answer", path="/v5/order/create", after=True, ms=2_000, times=1, key=BOT.key)
    sent = await command(stage, "flatten", {"bot": BOT.bot})

    async def closed() -> bool:
        return await hands.position("BTCUSDT") is None

    await until(closed, 30, "the first guard to close")
    first.signal(signal.SIGSTOP)
    try:
        await acts(second)
        assert (await answer(stage, sent)).outcome == "done", "the second guard goes on with it"
        await hands.open("ETHUSDT", "Buy", "1")
    finally:
        first.signal(signal.SIGCONT)

    async def replaced() -> bool:
        return bool(events(first, "another_guard_acts"))

    await until(replaced, 30, "the first guard to learn that it was replaced")
    assert first.running
    await until(lambda: _has_stop(hands, "ETHUSDT"), LONGEST_S, "the second guard to protect")
    assert await hands.position("ETHUSDT") is not None, "what was closed then is no order for now"


async def _has_stop(hands: Hands, symbol: str) -> bool:
    return await stop_of(hands, symbol) > 0


@pytest.mark.usefixtures("safe")
async def test_a_guard_that_starts_while_postgresql_is_away_protects_all_the_same(
    stage: BotHarness, hands: Hands
) -> None:
    process = guard(stage)
    stage.servers.postgres.stop("immediate")
    try:
        process.start()
        await hands.open("BTCUSDT", "Buy", "0.05")

        async def protected() -> bool:
            return await stop_of(hands, "BTCUSDT") > 0

        await until(protected, 60, "the stop")
        sent = await command(stage, "panic", {})
        await until(lambda: flat(stage), 30, "the account to be flat")
    finally:
        stage.servers.postgres.start()

    await until(lambda: halted_for_panic(stage), 60, "the halts to follow once PostgreSQL is back")
    assert (await answer(stage, sent)).outcome == "done"
    lifted = await answer(stage, await command(stage, "lift", {"bot": BOT.bot}))
    assert "1 halt lifted" in lifted.text, "also a halt that was written before the account was known"


@pytest.mark.usefixtures("safe")
async def test_a_bot_that_hangs_is_stopped_before_its_positions_are_closed(
    stage: BotHarness, hands: Hands, tmp_path: Path
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
        child = supervisor.processes["shortseller"].child
        assert child is not None
        os.kill(child.pid, signal.SIGSTOP)
        # The price falls while the bot hangs: the stop was removed, and the market soon passes its level.
        price = await hands.price("BTCUSDT")
        await hands.remember("BTCUSDT", "Buy", f"{price * 0.9995:.1f}")
        await hands.open("BTCUSDT", "Buy", "0.1")
        await sim(stage, "POST", "/_sim/speed", speed=600)

        async def safe() -> bool:
            position = await hands.position("BTCUSDT")
            return position is None or float(position["stopLoss"] or 0) > 0

        await until(safe, LONGEST_S, "the position to be closed or to have its stop")
        await hands.open("ETHUSDT", "Buy", "1")
        reply = await answer(stage, await command(stage, "flatten", {"bot": BOT.bot}))
        assert reply.outcome == "done"
        assert "is stopped" in reply.text
        assert "/start" in reply.text
        assert await flat(stage)
        assert supervisor.processes["shortseller"].state is State.EXITED
        # Its desired state is stopped as well: an upgrade or reboot does not start it, and /status says so.
        assert await wish(stage) == ("stopped", "guard: flatten by operator:1")
        assert ("flatten", BOT.bot) in await halts(stage)
    finally:
        process.stop()
        await supervisor.close([])
        await api.close()


@pytest.mark.usefixtures("safe")
async def test_in_a_swarm_a_bot_that_hangs_loses_its_account_before_its_positions_are_closed(
    stage: BotHarness, hands: Hands
) -> None:
    process = guard(stage, BOT_CONTROL_URL="swarm:")
    try:
        process.start()
        await acts(process)
        account = (await stage.rows("SELECT account_id FROM trading.accounts WHERE bot_id = $1", BOT.bot))[0][
            "account_id"
        ]
        await stage.sql(
            "INSERT INTO trading.bot_leases (account_id, bot_id, holder, token, acquisitions, acquired_at, expires_at) "
            "VALUES ($1, $2, 'the bot that hangs', 7, 1, now(), now() + interval '1 hour')",
            account,
            BOT.bot,
        )
        await hands.open("ETHUSDT", "Buy", "1")
        reply = await answer(stage, await command(stage, "flatten", {"bot": BOT.bot}))
        assert reply.outcome == "done"
        assert "its account is taken from it" in reply.text
        assert await flat(stage)
        assert await wish(stage) == ("stopped", "guard: flatten by operator:1"), "its process reads it and stops"
        lease = (await stage.rows("SELECT holder, token FROM trading.bot_leases WHERE account_id = $1", account))[0]
        assert lease["holder"] != "the bot that hangs"
        assert lease["token"] > 7, "what the bot signs from now on is refused"
    finally:
        process.stop()


@pytest.mark.usefixtures("safe")
async def test_a_loss_beyond_the_days_limit_halts_entries_and_the_reference_survives_a_restart(
    stage: BotHarness, hands: Hands
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
    # A week ago the account held twice as much: the reference is the saved one, not the current equity.
    await stage.sql(
        "UPDATE trading.guard_state SET state = jsonb_set(state, '{book,references,day}', '\"200000\"') WHERE name = 'limits'"
    )
    again = guard(stage, "again")
    again.start()

    async def halted() -> bool:
        return ("no_entries", BOT.bot) in await halts(stage)

    await until(halted, 60, "the halt")


@pytest.mark.usefixtures("safe")
@pytest.mark.parametrize("away", ["redis", "postgres"])
async def test_panic_goes_on_while_a_store_is_away(stage: BotHarness, hands: Hands, away: str) -> None:
    process = guard(stage)
    process.start()
    await acts(process)
    await hands.open("BTCUSDT", "Buy", "0.1")
    if away == "postgres":
        stage.servers.postgres.stop("immediate")
    try:
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
        if away == "postgres":
            stage.servers.postgres.start()
        else:
            stage.servers.redis.start()
    if away == "postgres":
        # A queued halt is not dropped when other halts are lifted meanwhile.
        await until(lambda: halted_for_panic(stage), 60, "the halts to follow")


async def halted_for_panic(stage: BotHarness) -> bool:
    return await halts(stage) == [("panic", bot.bot) for bot in BOTS]


@pytest.mark.usefixtures("safe")
async def test_a_postgresql_that_hangs_keeps_no_position_from_its_stop_and_no_closing_from_its_orders(
    stage: BotHarness, hands: Hands
) -> None:
    async with Stalling(stage.servers.postgres.port) as way:
        process = guard(stage, POSTGRES_PORT=str(way.port), GUARD_MAX_ORDER_USDT="500")
        process.start()
        await acts(process)
        way.stall()
        await hands.open("BTCUSDT", "Buy", "0.1")

        async def protected() -> bool:
            return await stop_of(hands, "BTCUSDT") > 0

        await until(protected, LONGEST_S, "the stop")
        sent = await command(stage, "panic", {})
        # Some twenty orders: with a wait for PostgreSQL before each it would take minutes.
        await until(lambda: flat(stage), 30, "the account to be flat")
        orders = {row["orderId"] for row in await stage.fills() if row["orderLinkId"].startswith("g-")}
        assert len(orders) > 10
        assert await halts(stage) == []
        way.flow()
        assert (await answer(stage, sent)).outcome == "done"
        await until(lambda: halted_for_panic(stage), 60, "the halts to follow")

        async def forgotten() -> bool:
            return await stage.guard_row("closing", BOT.bot) is None

        await until(forgotten, 60, "the closing to be over for good")
        process.stop()


@pytest.mark.usefixtures("safe")
async def test_a_bot_that_answers_stays_up_and_is_wished_paused(stage: BotHarness) -> None:
    process = guard(stage, GUARD_ANSWER_S="20")
    process.start()
    await acts(process)
    await stage.sql("UPDATE trading.bots SET wish = 'stopped' WHERE bot_id = 'momentum_001'")
    links = RedisClients(stage.servers.redis.settings())

    async def answering(database: int, bot: str) -> None:
        taker = CommandConsumer(links.database(database), bot)
        while True:
            for taken in await taker.take(wall_ms(), block_ms=100):
                assert taken.name == "pause"
                await taker.answer(taken, "done", "Paused.")

    bots = [asyncio.create_task(answering(number, bot.bot)) for number, bot in enumerate(BOTS)]
    try:
        reply = await answer(stage, await command(stage, "panic", {}))
    finally:
        await end_tasks(bots)
        await links.close()
    assert reply.outcome == "done"
    assert await wish(stage) == ("paused", "guard: panic by operator:1")
    assert await wish(stage, "momentum_001") == ("stopped", None), "what an operator has stopped stays stopped"
    assert await halts(stage) == [("panic", bot.bot) for bot in BOTS]


@pytest.mark.usefixtures("safe")
async def test_a_wider_command_takes_over_and_nothing_narrower_is_left_to_be_resumed(
    stage: BotHarness, hands: Hands
) -> None:
    process = guard(stage, GUARD_CONFIRM_S="3")
    process.start()
    await acts(process)
    await hands.open("BTCUSDT", "Buy", "0.05")
    await hands.open("ETHUSDT", "Buy", "1")
    narrow = await command(stage, "flatten", {"bot": BOT.bot, "symbol": "BTCUSDT"})

    async def closed() -> bool:
        return await hands.position("BTCUSDT") is None

    await until(closed, 30, "the one position to be closed")
    assert await hands.position("ETHUSDT") is not None
    wide = await command(stage, "flatten", {"bot": BOT.bot})
    assert (await answer(stage, wide)).outcome == "done"
    assert "a wider command took over" in (await answer(stage, narrow)).text
    assert await stage.guard_row("closing:BTCUSDT", BOT.bot) is None
    assert await stage.guard_row("closing", BOT.bot) is None


async def test_the_guard_listens_on_nothing_but_its_health_port(stage: BotHarness) -> None:
    process = guard(stage)
    process.start()
    await acts(process)
    port = events(process, "started")[0]["health_port"]
    listening = listening_of(process.pid)
    assert listening == {f"0100007F:{port:04X}"}


async def test_a_typing_error_in_a_symbol_is_refused_before_anything_is_halted_and_an_old_one_ends(
    stage: BotHarness, hands: Hands
) -> None:
    first = guard(stage, "first")
    first.start()
    await acts(first)
    first.kill()
    # what the previous release's guard had started and would have continued forever
    await stage.sql(
        "INSERT INTO trading.guard_state (account_id, name, state) SELECT account_id, 'closing:BTCUSD', $2 "
        "FROM trading.accounts WHERE bot_id = $1",
        BOT.bot,
        {"command_id": "old", "reason": "manual", "issuer": "operator:1", "symbol": "BTCUSD", "closed": {}},
    )
    process = guard(stage)
    process.start()
    await acts(process)

    async def forgotten() -> bool:
        return await stage.guard_row("closing:BTCUSD", BOT.bot) is None

    await until(forgotten, 30, "the closing that cannot succeed to end")
    await hands.open("BTCUSDT", "Buy", "0.05")
    refused = await answer(stage, await command(stage, "flatten", {"bot": BOT.bot, "symbol": "BTCUSD"}))
    assert refused.outcome == "refused"
    assert "Bybit has no BTCUSD" in refused.text
    assert "It holds: BTCUSDT." in refused.text
    assert await halts(stage) == []
    assert (await wish(stage))[0] == "running"
    assert not await flat(stage)


async def test_a_closing_can_be_taken_back_and_what_it_has_halted_stays_halted(stage: BotHarness, hands: Hands) -> None:
    process = guard(stage)
    process.start()
    await acts(process)
    await hands.open("BTCUSDT", "Buy", "0.05")
    await sim(stage, "POST", "/_sim/faults", kind="answer", path="/v5/order/create", ret_code=10016, ret_msg="busy")
    nothing = await answer(stage, await command(stage, "cancel", {"bot": BOT.bot}))
    assert nothing.outcome == "refused"
    flatten = await command(stage, "flatten", {"bot": BOT.bot})

    async def halted() -> bool:
        return ("flatten", BOT.bot) in await halts(stage)

    await until(halted, 20, "the halt")
    taken = await answer(stage, await command(stage, "cancel", {"bot": BOT.bot}))
    assert taken.outcome == "done", taken
    assert "what is open stays open" in taken.text
    ended = await answer(stage, flatten)
    assert ended.outcome == "refused"
    assert "taken back by operator:1" in ended.text
    assert ("flatten", BOT.bot) in await halts(stage)
    assert not await flat(stage)
    assert await stage.guard_row("closing", BOT.bot) is None
    lifted = await answer(stage, await command(stage, "lift", {"bot": BOT.bot}))
    assert lifted.outcome == "done"
    assert await halts(stage) == []
