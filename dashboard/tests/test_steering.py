"""Steering from the dashboard: what it does, and every way in that must be closed."""

import itertools
import json
import re
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

from alpha.config.services import DatabaseSettings
from alpha.errors import Misconfigured
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.live_state.control import Command
from alpha.postgres.database import connect
from dashboard.gate import COOKIE, SESSION_COOKIE
from demo.processes import Supervisor
from operations import dashboard_access, history
from operations.commands import Role
from operations.context import Operations
from risk_guard import containers
from tests.support.dashboard import (
    ADMIN,
    OPERATOR,
    OTHER,
    PUBLIC,
    TOKEN,
    VIEWER,
    Desk,
    dashboard_settings,
    steering_desk,
)
from tests.support.operations import run_sql

ROUTES = ("/steer", "/sessions", "/login", "/audit", "/steer/run/" + "0" * 32)
FORMS = ("/steer/ask", "/steer/confirm", "/sessions/end", "/login")


async def control_commands(links: RedisClients) -> list[str]:
    """The commands that anybody has sent to the guard or a bot."""
    found = []
    for database, target in ((15, keys.GUARD), (0, "shortseller_001"), (1, "lxalgo_001"), (2, "momentum_001")):
        rows = await links.database(database).xrange(keys.control(target))
        found += [fields["command"] for _, fields in rows]
    return found


async def test_a_link_opens_one_session_by_its_button_and_a_preview_does_not_use_it_up(desk: Desk) -> None:
    link = await desk.link(OPERATOR)
    async with desk.browser() as phone, desk.browser() as thief:
        for _ in range(3):
            preview = await thief.get(f"/login?code={link}")
            assert preview.status_code == 200
            assert "Set-Cookie" not in preview.headers
            assert "<form method=post" in preview.text
        answer = await phone.log_in(link)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/")
        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith(f"{SESSION_COOKIE}=")
        for part in ("Secure", "HttpOnly", "SameSite=Strict", "Path=/"):
            assert part in cookie
        assert "Domain" not in cookie
        assert (await thief.log_in(link)).status_code == 403
        assert SESSION_COOKIE not in thief.cookies
        page = await phone.get("/")
        assert 'data-role="operator"' in page.text
        assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
        assert page.headers["X-Frame-Options"] == "DENY"
        assert (await phone.get("/steer")).status_code == 200
    assert ("dashboard", str(OPERATOR), "login", "done") in await desk.audit()
    assert ("dashboard", "nobody", "login", "refused") in await desk.audit()


async def test_an_old_link_and_a_forged_one_open_nothing(desk: Desk, house_database: DatabaseSettings) -> None:
    link = await desk.link(ADMIN)
    await run_sql(house_database, "UPDATE audit.dashboard_links SET expires_at = now() - interval '1 second'")
    async with desk.browser() as late:
        for code in (link, "", "x" * 5_000, link[:-1], "\x00"):
            answer = await late.log_in(code)
            assert answer.status_code == 403, code
            assert late.cookies == {}
        assert (await late.get("/login")).status_code == 400


async def test_a_login_sent_by_another_site_opens_nothing(desk: Desk) -> None:
    link = await desk.link(OPERATOR)
    async with desk.browser() as lured:
        for origin in ("https://evil.example", "null", "", "http://desk.example", "https://desk.example.evil.example"):
            lured.origin = origin
            assert (await lured.log_in(link)).status_code == 403
        lured.origin = PUBLIC
        assert (await lured.post("/login", {"code": link}, headers={"Sec-Fetch-Site": "cross-site"})).status_code == 403
        assert (await lured.log_in(link)).status_code == 303


async def test_nothing_is_steered_without_a_role(desk: Desk, redis_links: RedisClients) -> None:
    async with desk.browser() as nobody, desk.browser() as reader, desk.person(VIEWER) as viewer:
        await reader.get(f"/?token={TOKEN}")
        assert set(reader.cookies) == {COOKIE}
        assert (await reader.get("/")).status_code == 200
        assert 'data-role="reader"' in (await reader.get("/")).text
        assert 'href="/steer"' not in (await reader.get("/trades")).text
        form = {"do": "panic", "csrf": "", "token": "x", "answer": "yes", "session": "x"}
        for who, wanted in ((nobody, 401), (reader, 403), (viewer, 403)):
            for path in ("/steer/ask", "/steer/confirm"):
                assert (await who.post(path, form)).status_code == wanted, path
            assert (await who.get("/steer")).status_code == wanted
        # a viewer with the right token of the session still has no role
        csrf = re.findall(r'name=csrf value="(\w+)"', (await viewer.get("/sessions")).text)[0]
        for do in ("panic", "pause momentum", "acknowledge", "close lxalgo ETHUSDT 50"):
            assert (await viewer.post("/steer/ask", {"csrf": csrf, "do": do})).status_code == 403, do
        assert (await viewer.get("/audit")).status_code == 403
    assert await control_commands(redis_links) == []
    assert ("dashboard", str(VIEWER), "panic", "refused") in await desk.audit()


async def test_nothing_is_steered_without_the_page_s_own_form(desk: Desk, redis_links: RedisClients) -> None:
    async with desk.person(OPERATOR) as operator, desk.person(OTHER) as other:
        right, others = await operator.csrf(), await other.csrf()
        for csrf, origin in (
            ("", PUBLIC), (others, PUBLIC), (right[:-1], PUBLIC), (right.upper(), PUBLIC), (right, "https://evil.example"),
            (right, "null"), (right, ""),
        ):  # fmt: skip
            operator.origin = origin
            for path in ("/steer/ask", "/steer/confirm", "/sessions/end"):
                answer = await operator.post(path, {"csrf": csrf, "do": "panic"})
                assert answer.status_code == 403, (csrf, origin, path)
        operator.origin = PUBLIC
        # a GET changes nothing, and a form in the address is none
        assert (await operator.get(f"/steer/ask?csrf={right}&do=panic")).status_code == 405
        assert (await operator.post(f"/steer/ask?csrf={right}&do=panic", {})).status_code == 403
        assert (
            await operator.post("/steer/ask", {"csrf": right, "do": "panic", "x": "y" * 100_000})
        ).status_code == 413
    assert await control_commands(redis_links) == []


_PART = b'--x\r\nContent-Disposition: form-data; name="csrf"\r\n'
_FORM, _PARTS = "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (_FORM, b"\xff\xfe\x00"), (f"{_FORM}; charset=nope", b"do=panic"), ("multipart/form-data", b"x"), (_PARTS, b"x"),
        (_PARTS, b"--x\r\n\r\nno name\r\n--x--\r\n"),
        (_PARTS, _PART + b"Content-Transfer-Encoding: nope\r\n\r\nx\r\n--x--\r\n"),
        (_PARTS, _PART + b"Content-Type: text/plain; charset=nope\r\n\r\nx\r\n--x--\r\n"),
        (_PARTS, _PART + b"Content-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\nx\r\n--y--\r\n--x--\r\n"),
    ],
)  # fmt: skip
async def test_a_body_that_is_no_form_is_refused_in_a_sentence(desk: Desk, kind: str, body: bytes) -> None:
    async with desk.person(OPERATOR) as operator:
        for path in FORMS:
            answer = await operator.post(path, {}, content=body, headers={"Content-Type": kind})
            assert (answer.status_code, "Send the form again." in answer.text) == (400, True), (path, answer.text)


async def test_a_field_that_is_given_twice_is_refused_and_so_is_a_bot_that_is_none(desk: Desk) -> None:
    async with desk.person(OPERATOR) as operator:
        csrf = await operator.csrf()
        form = {"Content-Type": _FORM}
        for body in (f"csrf={csrf}&do=panic&do=pause lxalgo", f"csrf=x&csrf={csrf}&do=panic"):
            answer = await operator.post("/steer/ask", {}, content=body, headers=form)
            assert (answer.status_code, "is given twice" in answer.text) == (400, True), answer.text
        answer = await operator.get("/steer?bot=nobody")
        assert answer.status_code == 400
        assert "The bots are: shortseller, lxalgo, momentum." in answer.text
    assert [row for row in await desk.audit() if row[2] != "login"] == []


async def test_a_confirmation_is_for_one_session_once_within_a_minute(
    house_database: DatabaseSettings, redis_links: RedisClients, platform: Operations, supervisor: Supervisor
) -> None:
    now = [1_700_000_000_000]
    await supervisor.start("risk_guard")
    async with (
        steering_desk(house_database, redis_links, platform, wall_ms=lambda: now[0]) as desk,
        desk.person(OPERATOR) as operator,
        desk.person(OTHER) as other,
        desk.person(OPERATOR) as again,
    ):
        asked = await operator.ask("flatten lxalgo")
        assert "ETHUSDT long 2" in unescape(asked.text)
        token = re.findall(r'name=token value="([^"]+)"', asked.text)[0]
        # another person, and another browser of the same person
        for who in (other, again):
            form = {"csrf": await who.csrf(), "token": token, "answer": "yes"}
            answer = await who.post("/steer/confirm", form)
            assert answer.status_code == 409
            assert "somebody else" in answer.text
        now[0] += 60_000
        assert "Older than a minute" in (await operator.confirm(asked)).text
        assert "answered already" in (await operator.confirm(asked)).text
        asked = await operator.ask("flatten lxalgo")
        assert "Not done" in (await operator.confirm(asked, "no")).text
        assert (await operator.confirm(asked)).status_code == 409
        assert await control_commands(redis_links) == []
        asked = await operator.ask("flatten lxalgo")
        first, second = await operator.confirm(asked), await operator.confirm(asked)
        assert (first.status_code, second.status_code) == (303, 409)
        assert (await other.get(first.headers["Location"])).status_code == 404
    assert await control_commands(redis_links) == ["flatten"]


async def test_commands_reach_bots_and_guard_and_the_audit_names_the_person(
    desk: Desk, platform: Operations, supervisor: Supervisor
) -> None:
    await supervisor.start("lxalgo")
    await supervisor.start("risk_guard")
    bot = platform.registry.find("lxalgo")
    async with desk.person(OPERATOR) as operator:
        page = unescape((await operator.get("/steer")).text)
        for do in ("pause lxalgo", "close lxalgo ETHUSDT 50"):
            assert f'value="{do}"' in page
        # its only order is the stop of its position
        assert "cancelorder" not in page
        assert "is done." in await operator.run("pause lxalgo")
        assert (await history.desired_states(platform))[bot.id] == "paused"
        assert "is done." in await operator.run("resume lxalgo")
        assert "reduce lxalgo_001 ETHUSDT 50 is done." in await operator.run("close lxalgo ETHUSDT 50")
        asked = await operator.ask("movestop shortseller BTCUSDT", more="95,500.5")
        assert "Move the stop of shortseller_001 BTCUSDT to 95,500.5?" in unescape(asked.text)
        assert "95500.5 is done." in await operator.run("movestop shortseller BTCUSDT", more="95500.5")
        assert "order-1 is done." in await operator.run("cancelorder shortseller BTCUSDT order-1")
        assert "Halted; 2 orders cancelled." in await operator.run("flatten lxalgo")
        assert "acknowledges" in await operator.run("acknowledge")
        assert await platform.history.value(
            "SELECT state->>'by' FROM audit.command_centre WHERE name = 'acknowledge'"
        ) == (f"dashboard:{OPERATOR}")
        # the guard stops and starts what it may; the wish is durable
        assert "stays stopped" in await operator.run("stop lxalgo")
        assert (await history.desired_state_of(platform, bot)) is not None
        assert (await history.desired_states(platform))[bot.id] == "stopped"
        for do in ("close lxalgo BTCUSDT", "movestop shortseller BTCUSDT 1", "movestop shortseller BTCUSDT", "sell lxalgo",
                   "pause nobody", "", "model_promote x", "cancelorder lxalgo BTCUSDT nothing", "logs lxalgo"):  # fmt: skip
            assert (await operator.ask(do)).status_code == 400, do
    async with desk.person(ADMIN) as admin:
        audit = (await admin.get("/audit?search=flatten")).text
        assert "flatten" in audit
        assert str(OPERATOR) in audit
        assert (await admin.get("/audit?page=1&range=7d")).status_code == 200
        file = await admin.get("/audit.csv?search=flatten")
        assert file.text.count("flatten") >= 2
    async with desk.person(OPERATOR) as operator:
        assert (await operator.get("/audit.csv")).status_code == 400
    rows = await desk.audit()
    for name in ("pause", "resume", "close", "movestop", "cancelorder", "flatten", "stop"):
        outcomes = [
            outcome for source, who, each, outcome in rows if (source, who, each) == ("dashboard", str(OPERATOR), name)
        ]
        assert {"asked", "done"} <= set(outcomes), name


async def test_the_guard_starts_and_stops_containers_of_bots_and_no_others(platform: Operations) -> None:
    def command(name: str, container: str) -> Command:
        return Command("1-1", "id", name, {"container": container, "grace_s": "4"}, "dashboard:1", 0)

    async def run(name: str, container: str) -> tuple[str, str]:
        return await containers.run(platform.control, platform.registry, command(name, container))

    assert await run(containers.START, "momentum") == ("done", "done")
    assert await run(containers.START, "momentum") == ("done", containers.NOTHING_TO_DO)
    assert await run(containers.RESTART, "momentum") == ("done", "done")
    assert await run(containers.STOP, "momentum") == ("done", "done")
    assert await run(containers.STOP, "momentum") == ("done", containers.NOTHING_TO_DO)
    for other in ("risk_guard", "trading_postgres", "", "momentum/../risk_guard"):
        outcome, text = await run(containers.STOP, other)
        assert outcome == "refused", other
        assert "No bot has the container" in text


async def test_sessions_are_listed_ended_and_gone_with_the_role(desk: Desk, platform: Operations) -> None:
    async with desk.person(OPERATOR) as laptop, desk.person(OPERATOR) as phone, desk.person(OTHER) as other:
        rows = re.findall(r'name=session value="(\w+)"', (await laptop.get("/sessions")).text)
        assert len(rows) == 2
        theirs = re.findall(r'name=session value="(\w+)"', (await other.get("/sessions")).text)
        csrf = await laptop.csrf()
        # another person's session cannot be ended, one's own can
        await laptop.post("/sessions/end", {"csrf": csrf, "session": theirs[0]})
        assert (await other.get("/steer")).status_code == 200
        for name in rows:
            if f'value="{name}"><button>End' in (await laptop.get("/sessions")).text:
                await laptop.post("/sessions/end", {"csrf": csrf, "session": name})
        assert (await phone.get("/steer")).status_code == 401
        assert (await laptop.get("/steer")).status_code == 200
        assert await dashboard_access.end_changed_roles(platform, {OPERATOR: Role.OPERATOR, OTHER: Role.VIEWER}) == 1
        assert (await other.get("/steer")).status_code == 401
        own = re.findall(r'name=session value="(\w+)"><button>Log out', (await laptop.get("/sessions")).text)[0]
        out = await laptop.post("/sessions/end", {"csrf": csrf, "session": own})
        assert "logged out" in out.text
        assert "Max-Age=0" in out.headers["Set-Cookie"]
        assert (await laptop.get("/")).status_code == 401
    async with desk.person(ADMIN) as admin, desk.person(OPERATOR) as other:
        await dashboard_access.end_sessions(platform, "test", person=OPERATOR)
        assert (await other.get("/")).status_code == 401
        assert (await admin.get("/sessions")).status_code == 200
    expired = await dashboard_access.open_session(desk.steering, await desk.link(OPERATOR), "::1", "x", timedelta(0))
    assert expired is None


async def test_guessing_links_and_cookies_is_limited_audited_and_alerted(desk: Desk, redis_links: RedisClients) -> None:
    async with desk.person(OPERATOR) as inside, desk.browser() as guessing:
        statuses = []
        for number in range(30):
            if number % 2:
                guessing.cookies = {SESSION_COOKIE: f"guess-{number}"}
                statuses.append((await guessing.get("/steer")).status_code)
            else:
                guessing.cookies = {}
                statuses.append((await guessing.log_in(f"guess-{number}")).status_code)
        assert set(statuses[:20]) == {401, 403}
        assert set(statuses[-10:]) == {429}
        # not even the right link is looked at, and nothing is written for what is not looked at
        link, before = await desk.link(ADMIN), len(await desk.audit())
        guessing.cookies = {}
        assert (await guessing.log_in(link)).status_code == 429
        assert len(await desk.audit()) == before
        # who is in stays in
        assert (await inside.get("/steer")).status_code == 200
    alerts = await redis_links.shared.xrange(keys.ALERTS)
    found = [fields for _, fields in alerts if fields["service"] == "dashboard"]
    assert [fields["level"] for fields in found] == ["warning"]
    assert "wrong tokens, links or cookies" in found[0]["text"]
    assert ("dashboard", "nobody", "login", "refused") in await desk.audit()


async def test_without_steering_there_are_no_such_routes(
    house_database: DatabaseSettings, redis_links: RedisClients, platform: Operations
) -> None:
    off: dict[str, Any] = {"dashboard_steering": "false"}
    async with steering_desk(house_database, redis_links, platform, **off) as desk, desk.browser() as reader:
        await reader.get(f"/?token={TOKEN}")
        assert (await reader.get("/")).status_code == 200
        for path in ROUTES:
            assert (await reader.get(path)).status_code == 404, path
        for path in FORMS:
            assert (await reader.post(path, {"do": "panic", "code": "x"})).status_code in (404, 405), path
        assert "Steer" not in (await reader.get("/")).text
        link = await desk.link(ADMIN)
        async with desk.browser() as nobody:
            assert (await nobody.get(f"/login?code={link}")).status_code == 401
            assert (await nobody.log_in(link)).status_code == 401


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"dashboard_public_url": ""}, "needs DASHBOARD_PUBLIC_URL"),
        (
            {"dashboard_public_url": "http://desk.example"},
            "DASHBOARD_PUBLIC_URL: 'http://desk.example' is not an https address",
        ),
        ({"dashboard_public_url": "https://desk.example/path"}, "a scheme and a host alone"),
        ({"dashboard_public_url": "https://user:pw@desk.example"}, "a scheme and a host alone"),
        ({"dashboard_public_url": "https://desk.example:port"}, "is not an https address"),
        ({"dashboard_public_url": "//desk.example"}, "is not an https address"),
    ],
)
def test_steering_needs_an_https_address(
    house_database: DatabaseSettings, redis_links: RedisClients, more: dict[str, str], said: str
) -> None:
    with pytest.raises(Misconfigured, match=said):
        dashboard_settings(house_database, redis_links, **more)


async def test_no_text_from_outside_becomes_markup(
    house_database: DatabaseSettings, redis_links: RedisClients, platform: Operations, tmp_path: Path
) -> None:
    numbers = itertools.count()

    def hostile() -> str:
        return f"<img src=x{next(numbers)} onerror=alert(1)>'\"--><script>alert(2)</script>"

    connection = await connect(house_database, "tests")
    await connection.execute(
        "INSERT INTO audit.alerts (level, source, bot_id, code, message, remedy) VALUES ('warning', $1, $1, $1, $1, $1)",
        hostile(),
    )
    await connection.execute(
        "INSERT INTO audit.commands (command_id, source, issuer, issuer_role, chat, name, bot_id, arguments, outcome, answer) "
        "VALUES ('x', $1, $1, $1, $1, $1, $1, jsonb_build_object('words', $1::text), 'done', $1)",
        hostile(),
    )
    await connection.execute(
        "INSERT INTO trading.halts (bot_id, symbol, kind, reason, created_by) VALUES ('lxalgo_001', $1, 'flatten', $1, $1)",
        hostile(),
    )
    await connection.execute("UPDATE trading.bots SET wish_by = $1", hostile())
    await connection.execute("UPDATE trading.round_trips SET exit_reason = $1 WHERE bot_id = 'lxalgo_001'", hostile())
    await connection.close()
    redis = redis_links.database(0)
    order = {"symbol": hostile(), "side": hostile(), "orderType": hostile(), "qty": "1", "orderLinkId": hostile()}
    await redis.hset(keys.orders("shortseller_001"), hostile(), json.dumps(order))
    name = hostile()
    await redis.sadd(keys.positions("shortseller_001"), name)
    held = {"side": "Buy", "size": "1", "entry_price": "1", "mark_price": "1", "unrealised_pnl": "1", "seq": "1"}
    await redis.hset(keys.position("shortseller_001", name), mapping={**held, "updated_at": "1700000000000"})
    await redis.hset(
        keys.heartbeat("shortseller_001"),
        mapping={"alive_at": str(platform.wall_ms()), "state": "running", "waits_for": hostile()},
    )
    (tmp_path / "logs").mkdir(exist_ok=True)
    (tmp_path / "logs" / "risk_guard.log").write_text(f'{{"level":"error","event":"{hostile()}"}}\n'.replace("'\"", ""))
    logs: dict[str, Any] = {"dashboard_logs_dir": str(tmp_path / "logs")}
    async with steering_desk(house_database, redis_links, platform, **logs) as desk, desk.browser() as admin:
        code = await dashboard_access.make_link(platform, ADMIN, hostile(), Role.ADMIN)
        await admin.post("/login", {"code": code}, headers={"User-Agent": "<img src=agent onerror=alert(1)>"})
        paths = [
            *(
                "/",
                "/steer",
                "/steer?bot=lxalgo",
                "/sessions",
                "/audit?range=all",
                "/alerts?range=all",
                "/orders",
                "/trades?range=all",
            ),
            *(
                "/fills?range=all",
                "/analytics",
                "/system",
                "/logs/risk_guard",
                "/issues",
                "/entries?range=all",
                "/risk",
                "/exposure",
            ),
        ]
        seen = ""
        for path in paths:
            answer = await admin.get(path)
            assert answer.status_code == 200, (path, answer.text[-300:])
            assert "<img src=" not in answer.text, path
            assert "<script>" not in answer.text, path
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
            seen += answer.text
        assert "&lt;img src=agent" in seen
        for place in range(next(numbers)):
            if f"src=x{place} " not in seen:
                continue
            assert f"&lt;img src=x{place} " in seen
        asked = await admin.ask(f"close {hostile()}")
        assert asked.status_code == 400
        assert "<img" not in asked.text
        assert "<img" not in (await admin.get(f"/login?code={hostile()}")).text
        async with (
            httpx.AsyncClient(base_url=desk.address) as raw,
            raw.stream(
                "GET", "/events", headers={"Cookie": f"{SESSION_COOKIE}={admin.cookies[SESSION_COOKIE]}"}
            ) as stream,
        ):
            lines = stream.aiter_lines()
            for _ in range(40):
                assert "<img" not in await anext(lines)
