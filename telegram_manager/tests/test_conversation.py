"""What people see: the real client library over a server as strict as Telegram, real stores, real processes."""

import re
from html import unescape
from pathlib import Path

from alpha.live_state import keys
from demo.processes import Supervisor
from operations import history, positions
from operations.commands import BY_NAME, QUERIES
from telegram_manager import layout
from telegram_manager.tests.conftest import ADMIN, GROUP, OPERATOR, SECOND_ADMIN, TOPIC, VIEWER, Centre


async def _outcomes(centre: Centre) -> list[tuple[str, str, str]]:
    rows = await centre.platform.history.rows("SELECT issuer, name, outcome FROM audit.commands ORDER BY issued_at")
    return [(row["issuer"], row["name"], row["outcome"]) for row in rows]


async def test_status_is_answered_on_one_screen(centre: Centre) -> None:
    centre.api.says(VIEWER, "/status")
    said = await centre.api.until(lambda m: "Status" in m.text)
    table = re.search(r"<pre>(.*?)</pre>", said.markup, re.DOTALL)
    assert table is not None
    assert max(len(line) for line in table[1].splitlines()) <= layout.WIDTH
    for bot in ("shortseller", "lxalgo", "momentum"):
        assert bot in said.text
    assert "+500.00" in said.text


async def test_every_question_is_answered_for_all_and_for_one_bot(centre: Centre) -> None:
    for question in QUERIES:
        if question.name == "logs":
            continue
        before = len(centre.api.said)
        centre.api.says(ADMIN, f"/{question.name}")
        if "bot" in question.usage:
            centre.api.says(ADMIN, f"/{question.name} shortseller")
        await centre.settle()
        answers = [said for said in centre.api.said[before:] if said.kind == "text"]
        assert len(answers) == (2 if "bot" in question.usage else 1), question.name
        assert not any("🔴 PostgreSQL" in said.text or "went wrong" in said.text for said in answers), question.name
    assert {row[2] for row in await _outcomes(centre)} == {"done"}


async def test_analytics_come_with_a_picture(centre: Centre) -> None:
    centre.api.says(VIEWER, "/analytics momentum 2024-12")
    picture = await centre.api.until(lambda m: m.kind == "photo")
    assert picture.file.startswith(b"\x89PNG")
    assert len(picture.file) < 100_000


async def test_a_button_shows_another_page_in_place(centre: Centre) -> None:
    centre.api.says(VIEWER, "/trades 200")
    first = await centre.api.until(lambda m: "Trades" in m.text)
    before = first.text
    press = centre.api.presses(VIEWER, first.button("▶️")["callback_data"], first)
    await centre.api.until_answered(press)
    await centre.settle()
    assert first.edits == 1
    assert first.text != before
    assert first.button("2 /")


async def test_what_is_too_long_comes_as_a_file(centre: Centre) -> None:
    centre.api.says(VIEWER, "/fills 1000")
    await centre.settle()
    (file,) = centre.api.to(VIEWER)
    assert file.file_name == "fills.txt"
    assert len(file.file.decode().splitlines()) > 1_000


async def test_wrong_words_get_one_line_with_an_example(centre: Centre) -> None:
    centre.api.says(VIEWER, "/analytics nobody")
    said = await centre.api.until(lambda m: "no bot" in m.text or "period" in m.text)
    assert "Example: /analytics momentum 7d" in said.text
    assert "\n" not in said.text


async def test_stop_and_start_end_and_begin_the_process_within_the_grace(
    centre: Centre, supervisor: Supervisor
) -> None:
    await supervisor.start("shortseller")
    centre.api.says(OPERATOR, "/stop shortseller_001")
    asked = await centre.api.until(lambda m: bool(m.buttons) and "Stop shortseller_001?" in m.text)
    assert "BTCUSDT short 0.5: stop 96,000" in asked.text
    centre.api.presses(OPERATOR, asked.button("Yes")["callback_data"], asked)
    await centre.settle()
    assert "✅" in asked.text
    assert supervisor.processes["shortseller"].state == "exited"
    assert (await history.desired_states(centre.platform))["shortseller_001"] == "stopped"
    told = [said for said in centre.api.said if said.chat in (ADMIN, SECOND_ADMIN)]
    assert {said.chat for said in told if "/stop shortseller" in said.text} == {ADMIN, SECOND_ADMIN}, told
    centre.api.says(OPERATOR, "/start shortseller")
    asked = await centre.api.until(lambda m: bool(m.buttons) and "Start shortseller_001?" in m.text)
    centre.api.presses(OPERATOR, asked.button("Yes")["callback_data"], asked)
    await centre.settle()
    assert supervisor.processes["shortseller"].state == "running"
    outcomes = await _outcomes(centre)
    assert outcomes == [(str(OPERATOR), "stop", "asked"), (str(OPERATOR), "stop", "done"),
                        (str(OPERATOR), "start", "asked"), (str(OPERATOR), "start", "done")]  # fmt: skip


async def test_panic_closes_everything_and_tells_how_it_goes(centre: Centre, supervisor: Supervisor) -> None:
    await supervisor.start("risk_guard")
    centre.api.says(ADMIN, "/panic")
    asked = await centre.api.until(lambda m: "PANIC" in m.text)
    centre.api.presses(ADMIN, asked.button("Yes")["callback_data"], asked)
    await centre.settle()
    assert "Halted; 2 orders cancelled." in asked.text
    assert await positions.positions(centre.platform) == []


async def test_no_means_nothing_is_done(centre: Centre, supervisor: Supervisor) -> None:
    await supervisor.start("momentum")
    centre.api.says(ADMIN, "/stop momentum")
    asked = await centre.api.until(lambda m: bool(m.buttons))
    centre.api.presses(ADMIN, asked.button("No")["callback_data"], asked)
    await centre.settle()
    assert "not done" in asked.text
    assert supervisor.processes["momentum"].state == "running"


async def test_a_confirmation_works_once_and_only_for_its_person_and_place(
    centre: Centre, supervisor: Supervisor
) -> None:
    await supervisor.start("momentum")
    centre.api.says(OPERATOR, "/restart momentum", chat=GROUP, topic=TOPIC)
    asked = await centre.api.until(lambda m: bool(m.buttons))
    data = asked.button("Yes")["callback_data"]
    started = supervisor.processes["momentum"].started_ms
    for forged in (
        centre.api.presses(ADMIN, data, asked),
        centre.api.presses(OPERATOR, data, chat=OPERATOR),
        centre.api.presses(OPERATOR, f"{data[:-5]}{'X' if data[-5] != 'X' else 'Y'}|yes", asked),
    ):
        assert await centre.api.until_answered(forged) != ""
    await centre.settle()
    assert supervisor.processes["momentum"].started_ms == started
    centre.api.presses(OPERATOR, data, asked)
    await centre.settle()
    restarted = supervisor.processes["momentum"].started_ms
    assert restarted != started
    again = centre.api.presses(OPERATOR, data, asked)
    assert "used" in await centre.api.until_answered(again)
    await centre.settle()
    assert supervisor.processes["momentum"].started_ms == restarted


async def test_the_export_holds_every_trade_of_the_period(centre: Centre) -> None:
    centre.api.says(OPERATOR, "/export lxalgo 2024-12")
    file = await centre.api.until(lambda m: m.kind == "document")
    count = await centre.platform.history.value(
        "SELECT count(*) FROM trading.position_summaries WHERE bot_id = 'lxalgo_001' "
        "AND closed_at >= '2024-12-01' AND closed_at < '2025-01-01'"
    )
    assert len(file.file.decode().splitlines()) == count + 1
    assert count > 0


async def test_a_symbol_is_picked_with_buttons_and_the_order_asked_back(centre: Centre) -> None:
    centre.api.says(OPERATOR, "/menu")
    shown = await centre.api.until(lambda m: bool(m.buttons))
    for label, until in (("Steering", "Flatten"), ("Flatten", "LXAlgo"), ("LXAlgo", "ETHUSDT")):
        centre.api.presses(OPERATOR, shown.button(label)["callback_data"], shown)
        await centre.settle()
        assert shown.button(until)
    centre.api.presses(OPERATOR, shown.button("ETHUSDT")["callback_data"], shown)
    asked = await centre.api.until(lambda m: "Flatten lxalgo_001" in m.text)
    assert "its position in ETHUSDT" in asked.text
    assert "ETHUSDT long 2: -19.00 USDT" in asked.text
    # adopt requires a position: without one there is no button
    centre.api.presses(OPERATOR, "p|adopt|momentum", shown)
    await centre.settle()
    assert "no open position" in shown.text
    assert [button["text"] for row in shown.buttons for button in row] == ["◀️ Menu"]


async def test_periods_and_numbers_are_picked_with_buttons_and_the_bot_is_kept(centre: Centre) -> None:
    centre.api.says(VIEWER, "/analytics momentum")
    shown = await centre.api.until(lambda m: "Analytics momentum, last 30 days" in m.text)
    centre.api.presses(VIEWER, shown.button("7 d")["callback_data"], shown)
    await centre.settle()
    assert "Analytics momentum, last 7 days" in shown.text
    centre.api.presses(VIEWER, shown.button("LXAlgo")["callback_data"], shown)
    await centre.settle()
    assert "Analytics lxalgo, last 7 days" in shown.text


async def test_money_of_any_size_fits_the_screen_of_a_phone(centre: Centre) -> None:
    for bot in centre.platform.registry.bots:
        redis = centre.platform.live.of(bot)
        large = {
            "equity": "1234567.89",
            "wallet_balance": "1234567.89",
            "available": "987654.32",
            "unrealised_pnl": "-1234567.89",
        }
        await redis.hset(keys.wallet(bot.id), mapping=large)
        for symbol in await redis.smembers(keys.positions(bot.id)):
            await redis.hset(
                keys.position(bot.id, symbol), mapping={"size": "1234.567", "unrealised_pnl": "-1234567.89"}
            )
    for command in ("/status", "/positions", "/balance"):
        centre.api.says(VIEWER, command)
    await centre.settle()
    lines = [line for said in centre.api.to(VIEWER) for table in re.findall(r"<pre>(.*?)</pre>", said.markup, re.DOTALL)
             for line in unescape(table).splitlines()]  # fmt: skip
    assert len(lines) > 12
    assert [line for line in lines if len(line) > layout.WIDTH + 4] == []


_COMING_FROM_FREQTRADE = (Path(__file__).resolve().parents[2] / "docs" / "freqtrade.md").read_text(encoding="utf-8")
#: What freqtrade's Telegram bot answers, by its documents.
FREQTRADE = (
    *(
        "start",
        "stop",
        "pause",
        "stopentry",
        "reload_config",
        "show_config",
        "status",
        "status table",
        "order",
        "trades",
    ),
    *("delete", "count", "locks", "unlock", "marketdir", "list_custom_data", "profit", "profit_long", "profit_short"),
    *("forceexit", "fx", "forcelong", "forceshort", "reload_trade", "cancel_open_order", "performance", "balance"),
    *("daily", "weekly", "monthly", "stats", "exits", "entries", "mix_tags", "whitelist", "blacklist"),
    *("blacklist_delete", "logs", "health", "help", "version", "tg_info"),
)


async def test_what_a_user_of_freqtrade_is_told_to_send_is_answered(centre: Centre) -> None:
    commands, _, pages = _COMING_FROM_FREQTRADE.partition("## FreqUI")
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", commands, re.MULTILINE)[1:]
    left = {name for theirs, _ in rows for name in re.findall(r"`/([a-z_ ]+)`", theirs)}
    assert set(FREQTRADE) <= left, "every command has its row"
    assert all("`/" in ours or ours.startswith(("no: ", "no need: ", "the same")) for _, ours in rows)
    told = {name for _, ours in rows for name in re.findall(r"`/([a-z_]+)", ours)}
    told |= {name for theirs, ours in rows if ours == "the same" for name in re.findall(r"`/([a-z_]+)", theirs)}
    told |= set(re.findall(r"`/([a-z_]+)", pages))
    assert len(told) >= 30
    for name in sorted(told):
        before = len(centre.api.said)
        centre.api.says(ADMIN, BY_NAME[name].example if name in BY_NAME else f"/{name}")
        await centre.settle()
        answers = [said.text for said in centre.api.said[before:]]
        assert answers, name
        assert not any("I do not know" in text for text in answers), name
