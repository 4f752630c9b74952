"""Nothing from outside stops the command centre, misleads a person, or is lost silently."""

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alpha.alerts import Alerts
from alpha.config.loader import load
from alpha.config.services import DatabaseSettings
from alpha.errors import Misconfigured
from alpha.live_state import keys
from bot_control import Process
from bot_control.interface import ProcessState
from demo.processes import Supervisor
from operations import history
from operations.context import Operations
from telegram_manager import layout, trade_events
from telegram_manager.channels import Channels
from telegram_manager.chat_ref import ChatRef
from telegram_manager.health_watch import HealthWatch
from telegram_manager.incoming_update import ASKED_FOR, read_update
from telegram_manager.poller import Offset, offset_name
from telegram_manager.rate_limit import RateLimit
from telegram_manager.settings import ChannelKeys
from telegram_manager.state_store import StateStore
from telegram_manager.tests.conftest import (
    ADMIN,
    GROUP,
    OPERATOR,
    SECOND_ADMIN,
    STRANGER,
    TOPIC,
    VIEWER,
    Centre,
    settings_for,
)
from telegram_manager.tests.test_delivery import add_trades
from telegram_manager.wiring import first_offset
from tests.support.bot_api import BOT_ID, TOKEN, BotApi
from tests.support.operations import run_sql

#: Updates that no library version may fail on: a poll and messages without required fields, or with wrong types.
BAD: list[dict[str, Any]] = [
    {"poll": {"id": "1", "question": "Q"}},
    {"poll": "text"},
    {"message": {"message_id": 1}},
    {
        "message": {
            "message_id": "x",
            "date": 1,
            "chat": {"id": VIEWER, "type": "private"},
            "text": "/login open sesame",
        }
    },
    {"message": []},
    {"callback_query": {"id": 5, "from": {"id": VIEWER}}},
    {"message": {"message_id": 1, "date": 10**30, "chat": {"id": 10**30, "type": "private"}}},
    {"edited_message": None},
    {"chat_member": {"from": {"id": "nobody"}}},
]


@pytest.fixture
def house_owner(house_database: DatabaseSettings) -> Any:
    """Runs statements as the database owner."""

    async def execute(*statements: str) -> None:
        await run_sql(house_database, *statements)

    return execute


async def _answers(centre: Centre, person: int, command: str, word: str) -> None:
    after = len(centre.api.said)
    centre.api.says(person, command)
    await asyncio.wait_for(centre.api.until(lambda m: m.chat == person and word in m.text, after=after), 30)


async def test_an_update_that_cannot_be_read_is_skipped_kept_and_the_next_is_answered(
    centre: Centre, caplog: pytest.LogCaptureFixture
) -> None:
    for update in BAD:
        centre.api.push(update)
    centre.api.says(VIEWER, "/balance")
    await asyncio.wait_for(centre.api.until(lambda m: "Balance" in m.text), 30)
    await centre.settle()
    assert not centre.polling.done()
    assert not any("went wrong" in said.text for said in centre.api.said)
    kept = await centre.platform.history.rows(
        "SELECT arguments FROM audit.commands WHERE name = 'unreadable update' AND outcome = 'refused'"
    )
    assert len(kept) >= 4
    assert "sesame" not in str(kept)
    assert "sesame" not in caplog.text
    # after a restart nothing is delivered again
    assert (await first_offset(centre.setup)).next == len(BAD) + 2


async def test_a_batch_that_no_decoder_takes_is_split_and_only_the_bad_one_is_skipped(
    centre: Centre, api: BotApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    from telegram_manager.bot_client import UpdatesRequest, split_updates

    deep = '{"update_id": 2, "message": ' + '{"reply_to_message": ' * 30_000 + "1" + "}" * 30_000
    good = json.dumps({"update_id": 3, "message": centre.api._message_of(VIEWER, VIEWER, None, 'a "]}" \\', None)})
    payload = f'{{"ok": true, "result": [{good.replace("3", "1", 1)}, {deep}}}, {good}]}}'
    found = UpdatesRequest.parse_json_payload(payload.encode())["result"]
    assert len(found) == 3
    offset = Offset()
    assert await centre.poller._take(found, offset, centre.platform.wall_ms())
    assert offset.next == 4
    await centre.desk.drain()
    assert len(centre.api.to(VIEWER)) == 2
    assert split_updates("<html>") == []


async def test_only_the_kinds_that_are_used_are_asked_for(api: BotApi, make_centre: Any) -> None:
    asked: list[dict[str, Any]] = []
    serve = api._do_getupdates

    async def note(parameters: dict[str, Any]) -> Any:
        asked.append(parameters)
        return await serve(parameters)

    api._do_getupdates = note  # type: ignore[method-assign, assignment]
    centre = await make_centre()
    await _answers(centre, VIEWER, "/balance", "Balance")
    assert json.loads(asked[0]["allowed_updates"]) == list(ASKED_FOR)
    await centre.end()


async def test_a_forged_button_with_control_characters_stops_nobody(centre: Centre) -> None:
    for data in ("q|status|\x00|0", "c|\x00|yes", "\ud800|x", "o|panic|\x1b[2J", "m|\x00"):
        centre.api.presses(VIEWER, data)
    centre.api.says(VIEWER, "/status \x00\x07\u202e")
    await _answers(centre, VIEWER, "/balance", "Balance")
    await centre.settle()
    assert not centre.polling.done()
    rows = await centre.platform.history.rows("SELECT name, arguments::text AS words FROM audit.commands")
    assert len(rows) == 7
    assert not any(ord(letter) < 32 for row in rows for letter in row["name"] + row["words"])


async def test_a_fault_in_one_update_leaves_the_loop_alone(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = centre.setup.commands.claim

    async def failing(attempt: Any, outcome: str, **more: Any) -> bool:
        if attempt.name == "trades":
            raise RuntimeError("nobody foresaw this")
        return await claim(attempt, outcome, **more)

    monkeypatch.setattr(centre.setup.commands, "claim", failing)
    centre.api.says(VIEWER, "/trades")
    await _answers(centre, VIEWER, "/balance", "Balance")
    assert not centre.polling.done()


async def test_a_token_that_is_refused_while_polling_does_not_end_the_process(centre: Centre, api: BotApi) -> None:
    told: list[str] = []
    heard = asyncio.Event()

    async def refused(text: str) -> None:
        told.append(text)
        heard.set()

    centre.poller._refused = refused
    api.refusing["getUpdates"] = 401
    api.says(STRANGER, "wake up")
    await asyncio.wait_for(heard.wait(), 30)
    assert "refuses C2_TELEGRAM_BOT_TOKEN" in told[0]
    assert not centre.polling.done()


async def test_a_flood_of_viewers_in_a_group_holds_up_neither_a_panic_nor_its_yes(
    api: BotApi, platform: Operations, make_centre: Any, supervisor: Supervisor
) -> None:
    await supervisor.start("risk_guard")
    viewers = (301, 302, 303)
    centre: Centre = await make_centre(
        c2_telegram_viewer_ids=",".join(map(str, viewers)), c2_telegram_rate_per_minute=40
    )
    # Telegram's real rate limit, not the tests' one
    centre.setup.outbox._pace = RateLimit()
    for _ in range(40):
        for viewer in viewers:
            api.says(viewer, "/health", chat=GROUP, topic=TOPIC)
    await asyncio.wait_for(api.until(lambda m: "Health" in m.text), 30)
    began = time.monotonic()
    api.says(ADMIN, "/panic", chat=GROUP, topic=TOPIC)
    asked = await asyncio.wait_for(api.until(lambda m: "PANIC" in m.text and bool(m.buttons)), 60)
    waited_s = time.monotonic() - began
    api.presses(ADMIN, asked.button("Yes")["callback_data"], asked)
    async with asyncio.timeout(30):
        while not await platform.live.shared.xlen(keys.control("guard")):
            await asyncio.sleep(0.02)
        while "✅" not in asked.text:
            await asyncio.sleep(0.02)
    assert waited_s < 2
    await centre.end()


async def test_a_yes_is_judged_by_when_it_came(centre: Centre, supervisor: Supervisor) -> None:
    await supervisor.start("momentum")
    centre.api.says(OPERATOR, "/restart momentum")
    asked = await centre.api.until(lambda m: bool(m.buttons))
    token = asked.button("Yes")["callback_data"].split("|")[1]
    pending = centre.desk._conversation._confirmations.peek(token)
    assert pending is not None
    now_ms = centre.platform.wall_ms()
    # it waits in the queue for longer than it is valid
    raw = {
        "callback_query": {
            "id": "late", "from": {"id": OPERATOR, "first_name": "O"}, "data": f"c|{token}|yes",
            "message": {"message_id": asked.message_id, "date": 1, "chat": {"id": OPERATOR, "type": "private"}},
        }
    }  # fmt: skip
    seen = read_update({"update_id": 900, **raw})
    await centre.desk.take_batch([seen], [], 0, pending.expires_ms - 1)
    await centre.desk.drain()
    assert "✅" in asked.text
    assert now_ms < pending.expires_ms


async def test_the_ids_of_another_bot_and_a_lower_sequence_are_new(
    centre: Centre, api: BotApi, make_centre: Any
) -> None:
    api.begin_anew(1_000_000)
    await _answers(centre, VIEWER, "/balance", "Balance")
    await centre.settle()
    stored = await centre.setup.memory.load(offset_name(BOT_ID), Offset, Offset)
    assert stored.next == 1_000_001
    assert await centre.setup.memory.load(offset_name(7), Offset, Offset) == Offset()
    # after a week without updates Telegram restarts the ids, lower than before
    polls = api.calls.count("getUpdates")
    api.begin_anew(5)
    for _ in range(150):
        api.says(STRANGER, "/start")
    await _answers(centre, ADMIN, "/balance", "Balance")
    await centre.settle()
    assert api.calls.count("getUpdates") - polls < 15
    await centre.end()
    again = await make_centre()
    assert (await first_offset(again.setup)).sequence == 1
    await _answers(again, ADMIN, "/status", "Status")
    await again.end()


async def test_an_answer_that_repeats_a_long_word_arrives(centre: Centre) -> None:
    for text in (
        "/analytics " + "x" * 4_000,
        "/stop " + "🚨" * 2_000,
        "/" + "y" * 4_000,
        "/flatten lxalgo " + "<&" * 1_500,
        "/performance " + "7" * 3_000,
        "/mute " + "9" * 3_000,
        "/export " + "q" * 3_900,
        "/alerts " + "z" * 3_900,
    ):
        after = len(centre.api.said)
        centre.api.says(OPERATOR, text)
        said = await asyncio.wait_for(centre.api.until(lambda m: m.chat == OPERATOR, after=after), 30)
        assert len(said.text) < 700, text[:20]
    await centre.setup.letters.say(ChatRef(OPERATOR), f"<b>{'ä&amp;' * 4_000}</b>")
    await centre.setup.letters.say(ChatRef(OPERATOR), "<b>not closed")
    assert "not closed" in centre.api.said[-1].text


async def test_nothing_is_red_because_the_button_could_not_be_answered(centre: Centre, supervisor: Supervisor) -> None:
    await supervisor.start("risk_guard")
    centre.api.says(ADMIN, "/panic")
    asked = await centre.api.until(lambda m: "PANIC" in m.text)
    centre.api.refusing["answerCallbackQuery"] = 502
    centre.api.presses(ADMIN, asked.button("Yes")["callback_data"], asked)
    centre.api.presses(ADMIN, "m", asked)
    centre.api.presses(ADMIN, "forged", asked)
    await centre.settle()
    assert not any("went wrong" in said.text or "could not be given" in said.text for said in centre.api.said)
    rows = await centre.platform.history.rows("SELECT outcome FROM audit.commands WHERE name = 'panic'")
    assert sorted(row["outcome"] for row in rows) == ["asked", "done"]


async def test_what_telegram_refuses_is_said_in_other_words(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "pages_of", lambda _page: [" "])
    centre.api.says(VIEWER, "/balance")
    said = await asyncio.wait_for(centre.api.until(lambda m: m.chat == VIEWER), 30)
    assert "could not be given" in said.text
    assert "text is empty" in said.text


async def test_in_a_group_only_commands_replies_and_mentions_are_answered(centre: Centre) -> None:
    quiet: list[dict[str, Any]] = [
        {"text": "good morning"},
        {"photo": [{"file_id": "x"}]},
        {"pinned_message": {"message_id": 1}},
        {"new_chat_members": [{"id": 5, "is_bot": False, "first_name": "N"}]},
        {"text": "as @alpha_test_botany said"},
    ]
    for more in quiet:
        for person in (VIEWER, STRANGER):
            message = centre.api._message_of(person, GROUP, TOPIC, "", None)
            del message["text"]
            centre.api.push({"message": message | more})
    await centre.settle()
    assert centre.api.said == []
    assert await centre.platform.history.value("SELECT count(*) FROM audit.commands") == 0
    reply = centre.api._message_of(VIEWER, GROUP, TOPIC, "and now?", None)
    reply["reply_to_message"] = centre.api._message_of(BOT_ID, GROUP, TOPIC, "Status", None)
    centre.api.push({"message": reply})
    centre.api.says(VIEWER, "@alpha_test_bot, are you there?", chat=GROUP, topic=TOPIC)
    centre.api.says(VIEWER, "/whoami", chat=GROUP, topic=TOPIC)
    await centre.settle()
    # a command that is known is answered in a lane of its own, so it may come first
    assert sorted(said.text[:12] == "I understand" for said in centre.api.to(GROUP)) == [False, True, True]


async def test_a_group_that_became_a_supergroup_goes_on_and_the_admins_hear_which_setting_to_change(
    centre: Centre, make_centre: Any
) -> None:
    new = -1002222
    # only noticed when something is sent there
    centre.api.migrated[GROUP] = new
    centre.api.says(ADMIN, "/whoami", chat=GROUP, topic=TOPIC)
    await asyncio.wait_for(centre.api.until(lambda m: m.chat == new and "admin" in m.text), 30)
    for person in (ADMIN, SECOND_ADMIN):
        told = await asyncio.wait_for(centre.api.until(lambda m, p=person: m.chat == p and str(new) in m.text), 30)  # type: ignore[misc]
        assert "C2_TELEGRAM_GROUPS" in told.text
    # messages in the new group are answered there, after a restart too
    centre.api.says(ADMIN, "/balance", chat=new, topic=TOPIC)
    await asyncio.wait_for(centre.api.until(lambda m: m.chat == new and "Balance" in m.text), 30)
    await centre.end()
    again = await make_centre()
    again.api.says(ADMIN, "/status", chat=new, topic=TOPIC)
    await asyncio.wait_for(again.api.until(lambda m: m.chat == new and "Status" in m.text), 30)
    await again.end()


async def test_a_group_says_itself_that_it_became_a_supergroup(centre: Centre) -> None:
    message = centre.api._message_of(ADMIN, GROUP, None, "", None)
    del message["text"]
    centre.api.push({"message": message | {"migrate_to_chat_id": -1002222}})
    stray = centre.api._message_of(ADMIN, -1009, None, "", None)
    centre.api.push({"message": stray | {"migrate_to_chat_id": -1003333}})
    await centre.settle()
    assert {said.chat for said in centre.api.said} == {ADMIN, SECOND_ADMIN}
    centre.api.says(ADMIN, "/whoami", chat=-1002222, topic=TOPIC)
    centre.api.says(ADMIN, "/whoami", chat=-1003333)
    await centre.settle()
    assert {said.chat for said in centre.api.said} == {ADMIN, SECOND_ADMIN, -1002222}


async def _alert_keys(platform: Operations) -> dict[str, str]:
    rows = await platform.live.shared.xrange(keys.ALERTS)
    return {fields["key"]: f"{fields['text']} {fields['remedy']}" for _, fields in rows}


async def test_a_channel_that_moved_or_refuses_is_an_alert(
    api: BotApi, platform: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORTSELLER_TELEGRAM_CHANNEL_ID", "-77")
    monkeypatch.setenv("LXALGO_TELEGRAM_CHANNEL_ID", "-78")
    alerts = Alerts(platform.live.shared, "tests")
    channels = Channels(platform.registry, api.url, TOKEN, None, alerts)
    await channels.open()
    api.migrated[-77] = -10077
    api.blocked.add(-78)
    try:
        await asyncio.wait_for(channels.tell(platform.registry.find("ss"), ["one"]), 30)
        await asyncio.wait_for(channels.tell(platform.registry.find("ss"), ["two"]), 30)
        await asyncio.wait_for(channels.tell(platform.registry.find("lx"), ["three"]), 30)
    finally:
        await channels.close()
    assert [said.text for said in api.to(-10077)] == ["one", "two"]
    told = await _alert_keys(platform)
    assert "SHORTSELLER_TELEGRAM_CHANNEL_ID=-10077" in told["channel-moved:shortseller_001"]
    assert "is lost" in told["channel-refused:lxalgo_001"]
    assert "LXALGO_TELEGRAM_CHANNEL_ID" in told["channel-refused:lxalgo_001"]


async def test_who_cannot_be_told_is_an_alert(centre: Centre) -> None:
    centre.setup.audience.report_to(Alerts(centre.platform.live.shared, "tests"))
    centre.api.blocked.add(SECOND_ADMIN)
    await centre.setup.audience.tell_admins("hello")
    assert f"person-unreachable:{SECOND_ADMIN}" in await _alert_keys(centre.platform)


async def test_alerts_off_is_asked_back_keeps_critical_ones_and_says_when_nobody_listens(centre: Centre) -> None:
    for person in (SECOND_ADMIN, OPERATOR, VIEWER):
        taste = centre.setup.audience.taste(person)
        taste.on = False
        await centre.setup.audience.set_taste(person, taste)
    centre.api.presses(ADMIN, "y|alerts|off")
    asked = await asyncio.wait_for(centre.api.until(lambda m: bool(m.buttons) and "alerts off" in m.text), 30)
    await centre.settle()
    audience, now = centre.setup.audience, centre.platform.wall_ms()
    assert ADMIN in audience.wanting("warning", now)
    centre.api.presses(ADMIN, asked.button("No")["callback_data"], asked)
    await centre.settle()
    assert ADMIN in audience.wanting("warning", now)
    centre.api.says(ADMIN, "/alerts Off")
    asked = await asyncio.wait_for(centre.api.until(lambda m: "alerts off" in m.text, after=1), 30)
    centre.api.presses(ADMIN, asked.button("Yes")["callback_data"], asked)
    await centre.settle()
    assert audience.wanting("warning", now) == []
    assert ADMIN in audience.wanting("critical", now)
    assert "No one receives warnings now" in centre.api.said[-1].text


async def _refused(centre: Centre, text: str, person: int = OPERATOR) -> str:
    after = len(centre.api.said)
    centre.api.says(person, text)
    said = await asyncio.wait_for(centre.api.until(lambda m: m.chat == person, after=after), 30)
    assert said.buttons == [], said.text
    return said.text


async def _asked(centre: Centre, text: str, person: int = OPERATOR) -> str:
    after = len(centre.api.said)
    centre.api.says(person, text)
    said = await asyncio.wait_for(centre.api.until(lambda m: m.chat == person, after=after), 30)
    assert said.button("Yes"), said.text
    return said.text


async def test_what_is_neither_held_nor_known_is_refused_before_it_is_asked(centre: Centre) -> None:
    assert "It holds: BTCUSDT" in await _refused(centre, "/flatten shortseller BTCUSD")
    assert "It holds: ETHUSDT" in await _refused(centre, "/adopt lxalgo BTCUSDT")
    assert "It holds no position" in await _refused(centre, "/adopt momentum BTCUSDT")
    shortseller = centre.platform.registry.find("shortseller")
    await centre.platform.live.of(shortseller).sadd(keys.symbols(shortseller.id), "SOLUSDT")
    assert "No open position is known" in await _asked(centre, "/flatten ss sol")
    # if live state cannot be trusted, the guard asks the exchange
    await centre.platform.live.of(shortseller).hset(keys.status(shortseller.id), "state", "stale")
    await _asked(centre, "/flatten shortseller DOGEUSDT")


async def test_a_confirmation_names_what_it_will_do(centre: Centre, house_owner: Any) -> None:
    assert "ETHUSDT long 2: -19.00 USDT, NO STOP" in await _asked(centre, "/adopt lxalgo eth")
    await house_owner(
        "INSERT INTO trading.halts (bot_id, kind, reason, created_by) "
        "VALUES ('lxalgo_001', 'flatten', 'panic by telegram:101', 'telegram:101'), "
        "('lxalgo_001', 'no_entries', 'Drawdown 31 % of the limit 30 %', 'guard:drawdown')",
        "UPDATE trading.bots SET wish = 'stopped', wish_by = 'guard: panic by telegram:101' WHERE bot_id = 'lxalgo_001'",
    )
    start = await _asked(centre, "/start lxalgo")
    assert "stopped by guard: panic by telegram:101" in start
    assert "no entries until /resume" in start
    assert "Drawdown 31 %" in start
    assert "stopped by an operator" in await _refused(centre, "/resume lxalgo")
    await history.set_desired_state(centre.platform, centre.platform.registry.find("lxalgo"), "paused", "telegram:7")
    resume = await _asked(centre, "/resume lx")
    assert "HALT flatten since" in resume
    assert "panic by telegram:101" in resume
    assert "Drawdown 31 %" in resume
    assert "the pause by telegram:7" in resume
    assert "ETHUSDT long 2: -19.00 USDT" in await _asked(centre, "/pause lxalgo")
    assert "what is open stays open" in await _asked(centre, "/cancel lxalgo")


async def test_buttons_under_an_answer_keep_the_bot_however_it_was_called(centre: Centre) -> None:
    for name in ("mo", "Momentum", "momentum_001", "MOMENTUM"):
        after = len(centre.api.said)
        centre.api.says(VIEWER, f"/analytics 7d {name}")
        shown = await asyncio.wait_for(
            centre.api.until(lambda m: "Analytics momentum, last 7 days" in m.text, after=after), 30
        )
        assert shown.button("Month")["callback_data"] == "q|analytics|momentum this month|0"
        assert shown.button("Refresh")["callback_data"] == "q|analytics|momentum 7d|0"
    after = len(centre.api.said)
    centre.api.says(VIEWER, "/trades 1,0 mo")
    assert "1,0" in (await centre.api.until(lambda m: m.chat == VIEWER, after=after)).text
    for text in ("/trades 5 momentum", "/trades momentum 5"):
        after = len(centre.api.said)
        centre.api.says(VIEWER, text)
        shown = await asyncio.wait_for(centre.api.until(lambda m: "Trades" in m.text, after=after), 30)
        assert shown.button("Refresh")["callback_data"] == "q|trades|momentum 5|0"
    assert "Trades" in (await _shown(centre, "/trades 1,000")).text or centre.api.said[-1].kind == "document"


async def _shown(centre: Centre, text: str) -> Any:
    after = len(centre.api.said)
    centre.api.says(VIEWER, text)
    return await asyncio.wait_for(centre.api.until(lambda m: m.chat == VIEWER, after=after), 30)


def test_a_character_that_nobody_sees_in_a_token_is_named(
    api_settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for character, name in (
        ("\u200b", "ZERO WIDTH SPACE"),
        ("\u00e9", "U+00E9"),
        ("\x7f", "U+007F"),
        (" ", "U+0020"),
    ):
        with pytest.raises(Misconfigured) as fault:
            api_settings(c2_telegram_bot_token=f"123456:AA{character}x")
        assert "C2_TELEGRAM_BOT_TOKEN" in str(fault.value)
        assert f"{name}" in str(fault.value)
        assert "AA" not in str(fault.value).replace("123456789:AA", "")
    with pytest.raises(Misconfigured, match="C2_WEBHOOK_URL"):
        api_settings(c2_webhook_url="http://[::1")
    with pytest.raises(Misconfigured, match=r"LXALGO_TELEGRAM_BOT_TOKEN.*ZERO WIDTH NO-BREAK SPACE"):
        load(ChannelKeys, prefix="LXALGO_", env_file=None, telegram_bot_token="\ufeff1:AA")


@pytest.fixture
def api_settings() -> Any:
    """Makes settings without a server."""

    def make(**more: Any) -> Any:
        return settings_for(BotApi(url="http://127.0.0.1:1"), **more)

    return make


async def test_logs_are_lines_that_a_person_reads(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        json.dumps(
            {"event": "stop_moved", "symbol": "BTCUSDT", "price": "96000", "level": "warning", "service": "momentum",
             "timestamp": "2025-06-01T10:15:03.123456Z"}
        ),
        json.dumps({"event": "unforeseen_fault", "level": "error", "timestamp": "2025-06-01T10:15:04Z",
                    "exception": "Traceback (most recent call last):\n  File x\nValueError: too much"}),
        "\x1b[31mplain output\x1b[0m",
        '{"broken": ',
    ]  # fmt: skip

    async def logs(_container: str, _lines: int) -> str:
        return "\n".join(lines) + "\n"

    monkeypatch.setattr(centre.platform.control, "logs", logs)
    centre.api.says(OPERATOR, "/logs momentum")
    said = await asyncio.wait_for(centre.api.until(lambda m: "Logs" in m.text), 30)
    shown = said.text.splitlines()[1:]
    assert shown[0] == "10:15:03 WARN stop_moved symbol=BTCUSDT price=96000"
    assert shown[1] == "10:15:04 ERROR unforeseen_fault (ValueError: too much)"
    assert shown[2] == "plain output"


async def test_a_watched_bot_whose_process_takes_long_to_stop_holds_up_no_other(
    platform: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bot in ("shortseller_001", "momentum_001"):
        await history.set_desired_state(platform, platform.registry.find(bot), "stopped", "tests")
    await platform.history.value("UPDATE trading.bots SET wish_at = wish_at - interval '1 minute'")
    stopped: list[str] = []
    both = asyncio.Event()

    async def slow(container: str, _grace: int = 10) -> bool:
        stopped.append(container)
        if len(stopped) == 2:
            both.set()
        await both.wait()
        return True

    class Control:
        async def list(self) -> list[Process]:
            return [Process(name, ProcessState.RUNNING, None, "up", None) for name in ("shortseller", "momentum")]

        stop = staticmethod(slow)

        async def start(self, _container: str) -> bool:
            return True

    watch = HealthWatch(replace(platform, control=Control()), Alerts(platform.live.shared, "tests"), 0)  # type: ignore[arg-type]
    await asyncio.wait_for(watch.look(), 30)
    assert sorted(stopped) == ["momentum", "shortseller"]


async def test_news_of_a_channel_that_hangs_hold_up_those_of_no_other(
    platform: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trade_events, "LOOK_WAIT_S", 0.2, raising=False)
    told: list[str] = []

    async def tell(bot: Any, lines: list[str]) -> None:
        if bot.id == "shortseller_001":
            await asyncio.Event().wait()
        told.extend(lines)

    news = trade_events.TradeEvents(
        platform, StateStore(platform), Alerts(platform.live.shared, "tests"), tell, 0, every_trade=False
    )
    await news.load()
    await asyncio.wait_for(news.look(), 30)
    await add_trades(platform, "shortseller_001", "XRPUSDT", 0)
    await add_trades(platform, "momentum_001", "DOGEUSDT", 0)

    async with asyncio.timeout(30):
        while not any("DOGEUSDT" in line for line in told):
            await news.look()
    for task in getattr(news, "_under_way", {}).values():
        task.cancel()
