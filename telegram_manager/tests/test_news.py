"""What people are told: per kind, per bot, durable; help by what they want; keyboards without two buttons of one name."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from alpha.alerts import Alerts
from alpha.errors import Misconfigured
from alpha.live_state import keys
from operations.analytics import analytics
from operations.business_time import business_now
from operations.commands import BY_NAME, QUERIES, Command, Role
from operations.context import Operations
from operations.formatting import in_zone
from operations.history_pages import analytics_page
from operations.page import Words
from operations.periods import parse_period
from telegram_manager.alert_delivery import AlertDelivery
from telegram_manager.alert_policy import AlertPolicy, AlertPolicyState
from telegram_manager.audience import AlertPreferences
from telegram_manager.buttons import menu, under_question
from telegram_manager.help_page import WANTS, help_of, help_text
from telegram_manager.layout import MOST
from telegram_manager.news import News
from telegram_manager.state_store import StateStore
from telegram_manager.tests.conftest import ADMIN, OPERATOR, SECOND_ADMIN, VIEWER, Centre, settings_for
from telegram_manager.trade_events import TradeEvents
from tests.support.bot_api import BotApi

PEOPLE = (ADMIN, SECOND_ADMIN, OPERATOR, VIEWER)


def news_of(centre: Centre, quiet: tuple[time, time] | None = None) -> News:
    """News over the centre's people."""
    return News(centre.platform, centre.setup.audience, centre.setup.letters, centre.setup.memory, quiet)


async def test_each_kind_and_bot_is_chosen_and_the_choice_outlives_a_restart(
    centre: Centre, api: BotApi, make_centre: Callable[..., Any], platform: Operations
) -> None:
    momentum, lxalgo = platform.registry.find("momentum"), platform.registry.find("lxalgo")
    for text in ("/notify exits on", "/notify exits quiet momentum", "/notify exits off lxalgo", "/notify funding on"):
        api.says(OPERATOR, text)
        await centre.settle()
    assert "exits    on     but LXAlgo off, Momentum quiet" in api.said[-1].text
    for text in ("/notify nothing on", "/notify exits loud", "/notify exits on nobody", "/notify exits"):
        api.says(OPERATOR, text)
        await centre.settle()
        assert "Example: /notify exits quiet momentum" in api.said[-1].text
    again: Centre = await make_centre()
    taste = again.setup.audience.taste(OPERATOR)
    assert [taste.news_of("exits", bot, {}) for bot in ("shortseller_001", momentum.id, lxalgo.id)] == [
        "on",
        "quiet",
        "off",
    ]
    assert taste.news_of("entries", lxalgo.id, {}) == "off"
    assert taste.news_of("entries", lxalgo.id, {"entries": "quiet"}) == "quiet"
    # a choice for all bots replaces those for one, and a mute leaves choices alone
    api.says(OPERATOR, "/mute 1h")
    api.says(OPERATOR, "/notify exits quiet")
    await again.settle()
    await centre.settle()
    for each in (centre, again):
        await each.setup.audience.load()
    assert again.setup.audience.taste(OPERATOR).news["exits"] == "quiet"
    await again.end()


async def test_news_reaches_who_chose_it_and_waits_in_quiet_hours(centre: Centre, api: BotApi) -> None:
    bot = centre.platform.registry.find("momentum")
    audience = centre.setup.audience
    await audience.set_taste(OPERATOR, AlertPreferences(news={"exits": "on"}))
    await audience.set_taste(VIEWER, AlertPreferences(news={"exits": "on", f"exits:{bot.id}": "off"}))
    await audience.set_taste(ADMIN, AlertPreferences(on=False, news={"exits": "on"}))
    news = news_of(centre)
    await news.tell("exits", bot, ["left"])
    assert [(said.chat, said.text) for said in api.said] == [(OPERATOR, "left")]
    await news.tell("funding", bot, ["paid"])
    assert len(api.said) == 1
    audience.default_news = {"funding": "quiet"}
    await news.tell("funding", bot, ["paid"])
    assert sorted(said.chat for said in api.said[1:]) == sorted([OPERATOR, SECOND_ADMIN, VIEWER])
    before = len(api.said)
    now = centre.platform.wall_now().time()
    begin = (datetime.combine(datetime.now(UTC), now) - timedelta(minutes=5)).time()
    end = (datetime.combine(datetime.now(UTC), now) + timedelta(minutes=5)).time()
    held = news_of(centre, (begin, end))
    for number in range(70):
        await held.tell("exits", bot, [f"line {number}"])
    await held.look()
    assert len(api.said) == before
    # another process, after the quiet hours
    await news_of(centre).look()
    assert [said.chat for said in api.said[before:]] == [OPERATOR]
    assert "10 older ones are left out" in api.said[-1].text
    assert "line 69" in api.said[-1].text


async def test_alerts_of_a_bot_are_left_out_for_who_turned_them_off_but_critical_ones(
    centre: Centre, api: BotApi
) -> None:
    platform, audience = centre.platform, centre.setup.audience
    for person in (ADMIN, SECOND_ADMIN, VIEWER):
        await audience.set_taste(person, AlertPreferences(news={"alerts": "off"}))
    await audience.set_taste(OPERATOR, AlertPreferences(news={"alerts:momentum_001": "off"}))
    book = AlertPolicy(AlertPolicyState(), 600_000, UTC)
    pump = AlertDelivery(
        platform, book, centre.setup.memory, audience, centre.setup.letters, Alerts(platform.live.shared, "t")
    )
    fields = {"remedy": "", "service": "t", "raised_ms": str(platform.wall_ms())}
    for level, key, bot in (
        ("warning", "a", "momentum_001"), ("warning", "b", "lxalgo_001"), ("info", "trade:x", "lxalgo_001"),
        ("critical", "c", "momentum_001"),
    ):  # fmt: skip
        await platform.live.shared.xadd(
            keys.ALERTS, {**fields, "level": level, "key": key, "text": f"text of {key}", "bot": bot}
        )
    book.state.position = "0-0"
    await pump.step(block_ms=10)
    told = {person: " ".join(said.text for said in api.said if said.chat == person) for person in PEOPLE}
    for person in PEOPLE:
        assert "text of c" in told[person]
        assert "text of a" not in told[person]
        assert "text of trade" not in told[person]
        assert ("text of b" in told[person]) is (person == OPERATOR)


async def test_stops_that_moved_and_funding_are_news_once(centre: Centre, platform: Operations) -> None:
    told: list[tuple[str, str, str]] = []

    async def tell(bot: Any, lines: list[str]) -> None:
        return None

    async def news(kind: str, bot: Any, lines: list[str]) -> None:
        told.extend((kind, bot.id, line) for line in lines)

    def events() -> TradeEvents:
        alerts = Alerts(platform.live.shared, "tests")
        return TradeEvents(platform, StateStore(platform), alerts, tell, 0, every_trade=False, news=news)

    first = events()
    await first.load()
    await first.look()
    assert told == []
    await platform.live.database(0).hset(keys.position("shortseller_001", "BTCUSDT"), "stop_loss", "95500")
    await first.look()
    await first.look()
    assert [(kind, bot) for kind, bot, _ in told] == [("stops", "shortseller_001")]
    assert "stop of BTCUSDT short moved from 96,000 to 95,500" in told[0][2]
    # it trails: not told at every step, and told by the next process from where it was
    await platform.live.database(0).hset(keys.position("shortseller_001", "BTCUSDT"), "stop_loss", "95400")
    await first.look()
    assert len(told) == 1
    second = events()
    await second.load()
    await second.look()
    assert "moved from 95,500 to 95,400" in told[1][2]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.ADMIN])
def test_help_names_what_each_may_use_with_an_example_in_one_message(role: Role) -> None:
    text = help_text(role)
    assert len(text) <= MOST
    for name, command in BY_NAME.items():
        assert (command.example.replace("&", "&amp;") + " - " in text) is (role >= command.role), name
    assert {name for _, names in WANTS for name in names} >= set(BY_NAME)


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_help_explains_every_command_alone(name: str) -> None:
    text, command = help_of(name), BY_NAME[name]
    assert command.role.name.lower() in text
    assert "Example: " in text
    assert ("confirmation" in text) is isinstance(command, Command)


def test_no_keyboard_has_two_buttons_of_one_name(platform: Operations) -> None:
    keyboards = [under_question(platform.registry, query, (), 0, 1, picture=True) for query in QUERIES]
    keyboards += [menu(Role.ADMIN, which) for which in ("", "steer", "you")]
    for keyboard in keyboards:
        labels = [label for row in keyboard for label, _ in row]
        assert len(labels) == len(set(labels)), labels
        assert sum(label.startswith("All") for label in labels) <= (2 if "All time" in labels else 1)
        assert "All" not in labels


def test_news_by_default_are_a_setting_that_is_checked(api: BotApi) -> None:
    assert settings_for(api, c2_news="entries, exits=quiet").news() == {"entries": "on", "exits": "quiet"}
    assert settings_for(api, c2_alert_fills="true", c2_news="exits=off").news() == {"entries": "on", "exits": "off"}
    for wrong in ("nothing", "exits=loud", "alerts=off"):
        with pytest.raises(Misconfigured, match="is not news"):
            settings_for(api, c2_news=wrong)


async def test_the_chart_and_the_net_beside_it_agree_or_say_why_not(platform: Operations) -> None:
    period = parse_period("7d", await business_now(platform))
    for bot in (None, platform.registry.find("lxalgo")):
        seen = await analytics(platform, bot, period)
        page = analytics_page(seen, UTC)
        change = seen.equity[-1].equity - seen.equity[0].equity
        net = sum((row.net for row in seen.performance), Decimal(0))
        said = [block.text for block in page.blocks if isinstance(block, Words) and block.text.startswith("Equity")]
        assert abs(change - net) > 1
        assert f"{change:+,.2f}" in said[0]
        assert f"{net:+,.2f} was booked" in said[0]
        assert f"{change - net:+,.2f} is the change of open positions" in said[0]


def test_times_that_services_wrote_are_shown_in_the_operators_zone() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert in_zone("It waits for 2025-06-01 10:05 UTC.", berlin) == "It waits for 2025-06-01 12:05 CEST."
    assert in_zone("at 2025-01-01 23:59:59 UTC, or 2025-13-01 00:00 UTC", berlin) == (
        "at 2025-01-02 00:59:59 CET, or 2025-13-01 00:00 UTC"
    )
