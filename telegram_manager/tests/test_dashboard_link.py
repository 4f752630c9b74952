"""`/dashboard`: who gets a link, and what people are told of what happens there."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from operations import dashboard_access
from operations.audit_log import Attempt, note_attempt, note_outcome
from operations.commands import Role
from operations.context import Operations
from telegram_manager.dashboard_news import DashboardNews
from telegram_manager.tests.conftest import ADMIN, GROUP, OPERATOR, SECOND_ADMIN, STRANGER, TOPIC, VIEWER, Centre
from tests.support.bot_api import BotApi

STEERS = {"dashboard_steering": "true", "dashboard_public_url": "https://desk.example"}


async def test_each_gets_a_link_of_their_own_role_in_private_alone(
    make_centre: Callable[..., Any], api: BotApi, platform: Operations
) -> None:
    centre: Centre = await make_centre(**STEERS)
    for person, role in ((OPERATOR, "operator"), (ADMIN, "admin"), (VIEWER, "viewer")):
        api.says(person, "/dashboard")
        await centre.settle()
        said = api.said[-1]
        assert said.chat == person
        code = re.findall(r"https://desk\.example/login\?code=([A-Za-z0-9_-]{43})$", said.text)[0]
        assert f"as {role}" in said.text
        opened = await platform.history.rows(
            "SELECT has_function_privilege('audit.open_dashboard_session(bytea, text, bytea, text, text, interval)', 'EXECUTE') AS may"
        )
        # the bot makes links, and cannot open sessions with them
        assert opened[0]["may"] is False
        assert code not in str(await platform.history.rows("SELECT * FROM audit.commands"))
    before = len(api.said)
    api.says(OPERATOR, "/dashboard", chat=GROUP, topic=TOPIC)
    api.says(STRANGER, "/dashboard")
    await centre.settle()
    assert not any("code=" in said.text for said in api.said[before:])
    assert any("in private" in said.text for said in api.said[before:])
    await centre.end()


async def test_without_steering_there_is_no_link(centre: Centre, api: BotApi) -> None:
    api.says(ADMIN, "/dashboard")
    await centre.settle()
    assert "DASHBOARD_STEERING=true" in api.said[-1].text
    assert "code=" not in api.said[-1].text


async def test_a_login_is_told_to_its_person_and_a_command_to_the_others(
    make_centre: Callable[..., Any], api: BotApi, platform: Operations, dashboard_platform: Operations
) -> None:
    centre: Centre = await make_centre(**STEERS)
    roles = {OPERATOR: Role.OPERATOR, ADMIN: Role.ADMIN, SECOND_ADMIN: Role.ADMIN, VIEWER: Role.VIEWER}
    news = DashboardNews(platform, centre.setup, centre.setup.memory, roles)
    await news.look()
    code = await dashboard_access.make_link(platform, OPERATOR, "<b>Otto</b>", Role.OPERATOR)
    opened = await dashboard_access.open_session(
        dashboard_platform, code, "192.0.2.7", "<i>Firefox", timedelta(hours=1)
    )
    assert opened is not None
    before = len(api.said)
    await news.look()
    told = api.said[before:]
    assert [said.chat for said in told] == [OPERATOR]
    assert "192.0.2.7, <i>Firefox" in told[0].text

    attempt = Attempt(
        "dashboard:1", "dashboard", str(OPERATOR), "operator", "session x", "flatten", "", {"words": "lxalgo"}
    )
    await note_attempt(dashboard_platform, attempt, "confirmed")
    await note_outcome(dashboard_platform, attempt.id, "done", "Flat.")
    before = len(api.said)
    await news.look()
    await news.look()
    told = api.said[before:]
    assert sorted(said.chat for said in told) == [ADMIN, SECOND_ADMIN]
    assert told[0].text == "👤 <b>Otto</b>, on the dashboard: ✅ /flatten lxalgo\nFlat."

    # a restart tells nothing twice; a person without the role any more is logged out by it
    again = DashboardNews(platform, centre.setup, centre.setup.memory, {OPERATOR: Role.VIEWER})
    before = len(api.said)
    await again.look()
    assert api.said[before:] == []
    assert await dashboard_access.session_of(dashboard_platform, opened[0]) is None
    await centre.end()


async def test_dashboard_off_ends_all_sessions_of_a_person(
    make_centre: Callable[..., Any], api: BotApi, platform: Operations, dashboard_platform: Operations
) -> None:
    centre: Centre = await make_centre(**STEERS)
    cookies = []
    for person in (OPERATOR, OPERATOR, ADMIN):
        code = await dashboard_access.make_link(platform, person, "x", Role.OPERATOR)
        opened = await dashboard_access.open_session(dashboard_platform, code, "::1", "x", timedelta(hours=1))
        assert opened is not None
        cookies.append(opened[0])
    api.says(OPERATOR, "/dashboard off")
    await centre.settle()
    assert "ended: 2." in api.said[-1].text
    valid = [await dashboard_access.session_of(dashboard_platform, cookie) is not None for cookie in cookies]
    assert valid == [False, False, True]
    await centre.end()
