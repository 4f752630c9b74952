"""Access control: every command and every button, for every kind of person; and which updates are admitted."""

import asyncio
import random
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpha.config.services import DatabaseSettings
from alpha.postgres.database import connect
from operations.commands import BY_NAME, COMMANDS, Command, Query, Role
from telegram_manager import access
from telegram_manager.access import (
    AUDITED_PER_MINUTE,
    BEFORE_LOGIN,
    STRANGERS_AUDITED_PER_MINUTE,
    Access,
    AccessControl,
    AccessState,
)
from telegram_manager.buttons import ADMINS, MENU, OPERATORS, STEERING, YOU, menu, read_press
from telegram_manager.chat_ref import ChatRef
from telegram_manager.incoming_update import IncomingUpdate, Kind, Unreadable, read_update
from telegram_manager.tests.conftest import (
    ADMIN,
    CODE,
    GROUP,
    OPERATOR,
    SECOND_ADMIN,
    STRANGER,
    TOPIC,
    VIEWER,
    Centre,
)
from tests.support.bot_api import BotApi

PEOPLE = {ADMIN: Role.ADMIN, OPERATOR: Role.OPERATOR, VIEWER: Role.VIEWER, STRANGER: Role.STRANGER}
WORDS = {
    "<bot>": "momentum",
    "<bot> [symbol]": "momentum",
    "<bot> <symbol>": "shortseller BTCUSDT",
    "<bot> [n]": "momentum",
    "<bot> <symbol> [percent]": "shortseller BTCUSDT 50",
    "<bot> <symbol> <price>": "shortseller BTCUSDT 95500",
    "<bot> <symbol> <order>": "shortseller BTCUSDT order-1",
    "<rest>": "trend",
}


def _text(command: Query | Command) -> str:
    return f"/{command.name} {WORDS.get(command.usage, '')}".strip()


async def _outcomes(centre: Centre) -> dict[tuple[str, str], set[str]]:
    rows = await centre.platform.history.rows("SELECT issuer, name, outcome FROM audit.commands")
    found: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        found.setdefault((row["issuer"], row["name"]), set()).add(row["outcome"])
    return found


async def test_every_command_acts_only_for_those_whose_role_allows_it(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "AUDITED_PER_MINUTE", 1_000)  # every refusal is looked at
    monkeypatch.setattr(access, "STRANGERS_AUDITED_PER_MINUTE", 1_000)
    auc = {"value": 0.6, "low": 0.55, "high": 0.65}
    manifest = {
        "name": "trend",
        "verdict": "pass",
        "shadow_days": 14,
        "label": {"kind": "sign"},
        "metrics": {"attempts": 1, "auc": auc},
        "drift_bars": 10,
        "ranges": {},
        "features": [],
    }
    await centre.platform.history.value("SELECT trading.register_model($1, $2, 'tests')", "a" * 64, manifest)
    for person in PEOPLE:
        for command in BY_NAME.values():
            centre.api.says(person, _text(command))
    await centre.settle()
    outcomes = await _outcomes(centre)
    for person, role in PEOPLE.items():
        for command in BY_NAME.values():
            seen = outcomes.get((str(person), command.name), set())
            if role is Role.STRANGER or role < command.role:
                assert seen == {"refused"}, (person, command.name)
            elif isinstance(command, Command):
                assert seen == {"asked"}, (person, command.name)
            else:
                assert seen <= {"done", "failed"}, (person, command.name)
    asked = {said.chat for said in centre.api.said if any("Yes" in b["text"] for row in said.buttons for b in row)}
    assert asked == {ADMIN, OPERATOR}
    assert centre.api.to(STRANGER) == []


async def test_every_button_acts_only_for_those_whose_role_allows_it(centre: Centre) -> None:
    buttons = [
        *_every_button(),
        "g|analytics|",
        "q|logs|momentum|0",
        "q|audit||0",
        "m",
        "m|steer",
        "m|you",
        "p|adopt|lxalgo",
        "p|flatten|lxalgo",
        "y|logout|",
    ]
    presses = {}
    for person in PEOPLE:
        for data in buttons:
            presses[person, data] = centre.api.presses(person, data)
    await centre.settle()
    answered = dict(centre.api.answered)
    for (person, data), press in presses.items():
        read = read_press(data)
        assert read is not None
        command = BY_NAME.get(read.name)
        if person == STRANGER:
            assert press not in answered, data
        elif command is not None and PEOPLE[person] < command.role:
            assert "needs the role" in answered[press], (person, data)
        else:
            assert answered[press] == "", (person, data)
    assert centre.api.to(STRANGER) == []
    # everyone chooses which alerts to receive
    asked = {
        said.chat
        for said in centre.api.said
        if any("Yes" in b["text"] and "alerts" not in b["text"] for row in said.buttons for b in row)
    }
    assert asked == {ADMIN, OPERATOR}


def test_the_buttons_reach_every_command_and_each_menu_is_that_of_its_role() -> None:
    reached = {role: {_name(data) for which in ("", "steer", "you") for row in menu(role, which) for _, data in row}
               for role in (Role.VIEWER, Role.OPERATOR, Role.ADMIN)}  # fmt: skip
    for role, names in reached.items():
        assert {command.name for command in BY_NAME.values() if command.role <= role} <= names, role
        assert not {name for name in names if name in BY_NAME and BY_NAME[name].role > role}, role
    assert {"mute", "whoami", "help", "ack", "export"} <= reached[Role.OPERATOR]


def _name(data: str) -> str:
    press = read_press(data)
    assert press is not None, data
    return press.name or {"a": "ack"}.get(press.kind, press.kind)


async def test_a_stranger_gets_nothing_and_the_admins_one_alert(centre: Centre) -> None:
    for text in ("/start", "hello", "/panic", "/login open sesame", "/start"):
        centre.api.says(STRANGER, text)
    centre.api.presses(STRANGER, "o|panic|")
    centre.api.push(
        {
            "inline_query": {
                "id": "1",
                "from": {"id": STRANGER, "is_bot": False, "first_name": "S"},
                "query": "x",
                "offset": "",
            }
        }
    )
    await centre.settle()
    assert centre.api.to(STRANGER) == []
    assert centre.api.answered == []
    assert sorted(said.chat for said in centre.api.said) == [ADMIN, SECOND_ADMIN]
    rows = await centre.platform.history.rows("SELECT issuer_role, outcome, arguments FROM audit.commands")
    # each of the seven attempts has a row
    assert [(row["issuer_role"], row["outcome"]) for row in rows] == [(None, "refused")] * 7
    assert "sesame" not in str(rows)


async def test_in_groups_only_the_named_topic_is_answered(centre: Centre) -> None:
    centre.api.says(ADMIN, "/status", chat=GROUP, topic=TOPIC)
    centre.api.says(ADMIN, "/status", chat=GROUP)
    centre.api.says(ADMIN, "/status", chat=GROUP, topic=8)
    centre.api.says(ADMIN, "/status", chat=-1002)
    centre.api.says(ADMIN, "/status", chat=SECOND_ADMIN)
    centre.api.says(STRANGER, "/status", chat=GROUP, topic=TOPIC)
    await centre.settle()
    answers = [said for said in centre.api.said if "Status" in said.text]
    assert [(said.chat, said.topic) for said in answers] == [(GROUP, TOPIC)]


async def test_a_command_for_another_bot_of_the_group_is_not_ours(centre: Centre) -> None:
    centre.api.says(ADMIN, "/status@other_bot", chat=GROUP, topic=TOPIC)
    centre.api.says(ADMIN, "/status@Alpha_Test_Bot", chat=GROUP, topic=TOPIC)
    await centre.settle()
    assert len(centre.api.said) == 1


async def test_other_kinds_of_updates_do_nothing(centre: Centre) -> None:
    for kind in ("edited_message", "channel_post", "edited_channel_post"):
        centre.api.says(ADMIN, "/panic", kind=kind)
    anonymous = {"message_id": 9, "date": 1_900_000_000, "text": "/panic", "chat": {"id": GROUP, "type": "supergroup", "title": "G"},
                 "sender_chat": {"id": GROUP, "type": "supergroup", "title": "G"}, "message_thread_id": TOPIC, "is_topic_message": True,
                 "from": {"id": 1087968824, "is_bot": True, "first_name": "Group"}}  # fmt: skip
    centre.api.push({"message": anonymous})
    await centre.settle()
    assert centre.api.said == []


async def test_an_old_command_is_answered_as_expired_and_not_run(centre: Centre) -> None:
    centre.api.says(ADMIN, "/panic", date=int(centre.platform.wall_now().timestamp()) - 90)
    await centre.settle()
    (said,) = centre.api.to(ADMIN)
    assert "more than a minute ago" in said.text
    assert said.buttons == []


async def test_an_update_that_was_taken_before_a_restart_does_nothing_when_it_comes_again(
    centre: Centre, make_centre: Any
) -> None:
    number = centre.api.says(OPERATOR, "/flatten lxalgo")
    await centre.settle()
    assert len(centre.api.to(OPERATOR)) == 1
    await centre.end()
    again = await make_centre()
    seen = IncomingUpdate(number, Kind.MESSAGE, OPERATOR, "x", ChatRef(OPERATOR), private=True, text="/flatten lxalgo")
    await again.desk.take(seen)
    await again.desk.drain()
    assert len(again.api.to(OPERATOR)) == 1
    await again.end()


async def test_with_an_expired_session_no_command_and_no_button_does_anything(guarded_centre: Centre) -> None:
    api = guarded_centre.api
    guarded_centre.setup.gate.code_was_right(ADMIN, guarded_centre.platform.wall_ms() - 13 * 3_600_000)
    # a command from when the session was still valid
    token = guarded_centre.desk._conversation._confirmations.ask(
        ADMIN, ChatRef(ADMIN), "panic", (), "before", guarded_centre.platform.wall_ms()
    )
    for command in BY_NAME.values():
        if command.name not in BEFORE_LOGIN:
            api.says(ADMIN, _text(command))
    presses = [api.presses(ADMIN, data) for data in (*_every_button(), f"c|{token}|yes")]
    await guarded_centre.settle()
    assert {said.text for said in api.to(ADMIN)} == {"Send your access code first: /login CODE"}
    answered = dict(api.answered)
    assert {answered[press] for press in presses} == {"Send your access code first: /login CODE"}
    outcomes = {outcome for found in (await _outcomes(guarded_centre)).values() for outcome in found}
    assert outcomes == {"refused"}


async def test_in_a_group_that_is_not_named_no_command_and_no_button_does_anything(centre: Centre) -> None:
    for command in BY_NAME.values():
        centre.api.says(ADMIN, _text(command), chat=-1002)
    presses = [centre.api.presses(ADMIN, data, chat=-1002) for data in _every_button()]
    await centre.settle()
    assert presses
    assert centre.api.said == []
    assert centre.api.answered == []
    assert {outcome for found in (await _outcomes(centre)).values() for outcome in found} == {"refused"}


def _every_button() -> list[str]:
    return [data for rows in (*MENU, *STEERING, *YOU, *OPERATORS, *ADMINS) for _, data in rows] + [
        f"o|{order.name}|momentum" for order in COMMANDS
    ]


async def test_the_code_opens_a_session_and_its_message_is_deleted(guarded_centre: Centre) -> None:
    guarded_centre.api.says(ADMIN, f"/login {CODE}")
    await guarded_centre.settle()
    assert "Welcome" in guarded_centre.api.to(ADMIN)[0].text
    assert len(guarded_centre.api.deleted) == 1
    guarded_centre.api.says(ADMIN, "/balance")
    guarded_centre.api.says(OPERATOR, "/balance")
    await guarded_centre.settle()
    assert "Balance" in guarded_centre.api.to(ADMIN)[-1].text
    assert "access code" in guarded_centre.api.to(OPERATOR)[-1].text
    rows = await guarded_centre.platform.history.rows("SELECT arguments, answer FROM audit.commands")
    assert CODE not in str(rows)


async def test_wrong_codes_lock_out_and_the_lock_outlives_a_restart(guarded_centre: Centre, make_centre: Any) -> None:
    for _ in range(5):
        guarded_centre.api.says(OPERATOR, "/login guess")
    await guarded_centre.settle()
    assert "locked out" in guarded_centre.api.to(OPERATOR)[-1].text
    assert any("locked out" in said.text for said in guarded_centre.api.to(ADMIN))
    await guarded_centre.end()
    again = await make_centre(c2_telegram_access_code_hash=_hash())
    before = len(again.api.said)
    again.api.says(OPERATOR, f"/login {CODE}")
    await again.settle()
    assert "Locked" in again.api.said[before].text
    await again.end()


async def test_a_code_never_stays_in_the_chat_and_is_never_said_again(guarded_centre: Centre) -> None:
    api = guarded_centre.api
    now = int(guarded_centre.platform.wall_now().timestamp())
    api.says(ADMIN, f"/login {CODE}", date=now - 90)
    api.says(ADMIN, f"/login {CODE}", kind="edited_message")
    api.says(ADMIN, f"/Login@alpha_test_bot {CODE}", chat=GROUP, topic=TOPIC)
    for _ in range(6):
        api.says(OPERATOR, "/login wrong sesame")
    await guarded_centre.settle()
    assert len(api.deleted) == 9
    assert not any("sesame" in said.text for said in api.said)
    assert guarded_centre.setup.gate.session_ends_ms(ADMIN) is None
    assert any("in private" in said.text for said in api.to(GROUP))
    rows = await guarded_centre.platform.history.rows("SELECT * FROM audit.commands")
    assert len(rows) == 9
    assert "sesame" not in str(rows)


async def test_a_database_that_hangs_does_not_hold_up_a_panic(centre: Centre, house_database: DatabaseSettings) -> None:
    owner = await connect(house_database, "tests")
    async with owner.transaction():
        # every row that the command centre writes waits for this transaction; the panic must not
        await owner.execute("LOCK TABLE audit.commands, audit.command_centre IN ACCESS EXCLUSIVE MODE")
        number = centre.api.says(ADMIN, "/panic")
        await centre.api.until(lambda m: m.chat == ADMIN and "PANIC" in m.text)
        assert await owner.fetchval("SELECT count(*) FROM audit.commands") == 0
    await owner.close()
    await centre.settle()
    await centre.setup.commands.flush()
    row = await centre.platform.history.rows("SELECT command_id, name, outcome FROM audit.commands")
    assert [(r["command_id"].endswith(f":{number}"), r["name"], r["outcome"]) for r in row] == [
        (True, "panic", "asked")
    ]


def _hash() -> str:
    from operations.access_code import hash_code

    return hash_code(CODE)


ROLES = {ADMIN: Role.ADMIN, OPERATOR: Role.OPERATOR, VIEWER: Role.VIEWER}


def _seen(text: str, person: int = ADMIN, kind: Kind = Kind.MESSAGE) -> IncomingUpdate:
    return IncomingUpdate(1, kind, person, "x", ChatRef(person), private=True, text=text)


def test_a_session_ends_after_its_time() -> None:
    gate = AccessControl(ROLES, (), 100, 3_600_000)
    gate.code_was_right(ADMIN, 0)
    assert gate.judge(_seen("/stop lxalgo"), 3_599_999).verdict is Access.ADMITTED
    assert gate.judge(_seen("/stop lxalgo"), 3_600_000).verdict is Access.CODE_NEEDED
    assert gate.judge(_seen("o|panic|", kind=Kind.BUTTON), 3_600_000).verdict is Access.CODE_NEEDED


def test_more_than_the_rate_is_refused_but_a_panic_never() -> None:
    gate = AccessControl(ROLES, (), 5, None)
    verdicts = [gate.judge(_seen("/status"), moment).verdict for moment in range(7)]
    assert verdicts == [Access.ADMITTED] * 5 + [Access.TOO_OFTEN] * 2
    assert gate.judge(_seen("/panic"), 8).verdict is Access.ADMITTED
    # a pending confirmation can still be confirmed
    assert gate.judge(_seen("c|token|yes", kind=Kind.BUTTON), 9).verdict is Access.ADMITTED
    assert gate.judge(_seen("q|status||0", kind=Kind.BUTTON), 9).verdict is Access.TOO_OFTEN
    assert gate.judge(_seen("/status"), 60_009).verdict is Access.ADMITTED


def test_each_refusal_is_a_row_of_the_audit_until_it_is_a_flood() -> None:
    gate = AccessControl(ROLES, (), 5, None, AccessState())
    judged = [gate.judge(_seen("/x", STRANGER), moment) for moment in range(0, 60_000, 100)]
    assert [judgement.to_audit for judgement in judged[:AUDITED_PER_MINUTE]] == [True] * AUDITED_PER_MINUTE
    assert sum(judgement.to_audit for judgement in judged) == AUDITED_PER_MINUTE
    assert gate.judge(_seen("/x", STRANGER), 60_000).to_audit
    many = [gate.judge(_seen("/x", STRANGER + n), 200_000).to_audit for n in range(1_000)]
    assert sum(many) == STRANGERS_AUDITED_PER_MINUTE
    assert sum(judgement.new_stranger for judgement in judged) == 1
    assert all(judgement.answer == "" for judgement in judged)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**52), 2**52) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
people = st.sampled_from([ADMIN, OPERATOR, VIEWER, STRANGER, 0, -5, 2**40])
texts = (
    st.text(max_size=60)
    | st.sampled_from([f"/{name}" for name in BY_NAME])
    | st.text(max_size=40).map(lambda t: f"/{t}")
)
data = st.text(max_size=64) | st.sampled_from(
    ["c||yes", "c|x|yes", "q|status||999", "q|status||-1", "o|status|", "q|panic||0", "p|", "m|m"]
)


@st.composite
def updates(draw: st.DrawFn) -> dict[str, Any]:
    """Updates as Telegram could send them, and with strange contents."""
    person, chat = draw(people), draw(people | st.just(GROUP))
    message: dict[str, Any] = {
        "message_id": draw(st.integers(0, 2**31)),
        "date": draw(st.sampled_from([0, 1_000_000_000, 2_100_000_000, int(datetime.now(UTC).timestamp())])),
        "chat": {"id": chat, "type": draw(st.sampled_from(["private", "group", "supergroup", "channel"]))},
        "from": {"id": person, "is_bot": draw(st.booleans()), "first_name": draw(st.text(max_size=20))},
    }
    if draw(st.booleans()):
        message["text"] = draw(texts)
    if draw(st.booleans()):
        message |= {"message_thread_id": draw(st.integers(0, 10)), "is_topic_message": draw(st.booleans())}
    kind = draw(
        st.sampled_from(["message", "edited_message", "channel_post", "callback_query", "inline_query", "poll_unknown"])
    )
    if kind == "callback_query":
        query = {
            "id": draw(st.text(min_size=1, max_size=10)),
            "from": message["from"],
            "chat_instance": "1",
            "data": draw(data),
        }
        return {kind: query | ({"message": message} if draw(st.booleans()) else {})}
    if kind == "inline_query":
        return {kind: {"id": "1", "from": message["from"], "query": draw(st.text(max_size=20)), "offset": ""}}
    return {kind: message if kind != "poll_unknown" else draw(json_values)}


@settings(max_examples=300, deadline=None)
@given(raw=updates(), now=st.integers(0, 2**42))
def test_no_update_breaks_the_gate_and_no_stranger_passes_it(raw: dict[str, Any], now: int) -> None:
    try:
        seen = read_update({"update_id": 1, **raw})
    except Unreadable:
        return
    judgement = AccessControl(ROLES, (ChatRef(GROUP, TOPIC),), 10, None).judge(seen, now)
    if seen.person not in ROLES:
        assert judgement.verdict is Access.STRANGER
        assert judgement.answer == ""
    if judgement.verdict is Access.ADMITTED:
        assert seen.kind in (Kind.MESSAGE, Kind.BUTTON)
        assert seen.place in (
            ChatRef(seen.person or 0, seen.place.topic if seen.place else None),
            ChatRef(GROUP, TOPIC),
        )


@settings(deadline=None)
@given(st.text(max_size=64))
def test_no_button_data_breaks_the_reading(text: str) -> None:
    press = read_press(text)
    assert press is None or press.kind in "qgopmcay"


async def test_a_storm_of_strange_updates_leaks_nothing_to_strangers_and_stops_nobody(centre: Centre) -> None:
    draw = random.Random(5)
    pieces = [
        "/",
        "/stop",
        "/analytics",
        " ",
        "lxalgo",
        "'; DROP TABLE x;--",
        "<b>",
        "&",
        "\x00",
        "🚨" * 50,
        "9" * 400,
        "|",
        "%s",
        "../..",
    ]
    for number in range(150):
        text = "".join(draw.choice(pieces) for _ in range(draw.randrange(1, 6)))
        person = draw.choice([ADMIN, VIEWER, STRANGER])
        if number % 3 == 0:
            centre.api.presses(person, text[:60])
        else:
            centre.api.says(person, text, kind=draw.choice(["message", "message", "edited_message"]))
    await centre.settle()
    assert centre.api.to(STRANGER) == []
    assert not any("went wrong here" in said.text for said in centre.api.said)
    after = len(centre.api.said)
    centre.api.says(VIEWER, "/balance")
    assert "Balance" in (await asyncio.wait_for(centre.api.until(lambda m: "Balance" in m.text, after=after), 30)).text


async def test_the_server_of_these_tests_refuses_what_telegram_refuses(api: BotApi) -> None:
    from telegram.error import BadRequest, Conflict, InvalidToken, RetryAfter

    from telegram_manager.bot_client import make_bot
    from tests.support.bot_api import TOKEN

    bot = make_bot(TOKEN, api.url)
    await bot.initialize()
    for text, mode in (
        ("x" * 4097, None),
        ("<b>open", "HTML"),
        ("a < b", "HTML"),
        ("a.b", "MarkdownV2"),
        (" ", None),
        ("<h1>x</h1>", "HTML"),
    ):
        with pytest.raises(BadRequest):
            await bot.send_message(1, text, parse_mode=mode)
    with pytest.raises(BadRequest):
        await bot.answer_callback_query("never pressed")
    wrong = make_bot("1:wrong", api.url)
    with pytest.raises(InvalidToken):
        await wrong.get_me()
    await wrong.request.shutdown()
    api.flood_free = 1
    await bot.send_message(1, "one")
    with pytest.raises(RetryAfter):
        await bot.send_message(1, "two")
    first = asyncio.create_task(bot.get_updates(timeout=20))
    await api.until_polled()
    await bot.get_updates(timeout=0)
    with pytest.raises(Conflict):
        await first
    await bot.shutdown()
