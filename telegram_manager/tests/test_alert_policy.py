"""The alert policy: grouping, quiet hours, repeats until acknowledged."""

from datetime import UTC, time
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from alpha.alerts import Alert, Level
from operations.status import BotState, BotStatus, ServiceStatus, Status
from telegram_manager.alert_policy import (
    AGAIN_MS,
    FORGET_MS,
    MOST_KNOWN,
    OVER_MS,
    SETTLED_MS,
    AlertPolicy,
    AlertPolicyState,
    Raised,
)
from telegram_manager.alert_stream import raised_here
from telegram_manager.audience import AlertPreferences
from telegram_manager.health_watch import troubles
from telegram_manager.tests.markup import length, read_html
from tests.support.operations import NOW

REPEAT_MS = 600_000
NIGHT = (time(22, 30), time(7, 0))


def _book(quiet: tuple[time, time] | None = None, least: str = "info", zone: str = "UTC") -> AlertPolicy:
    return AlertPolicy(AlertPolicyState(), REPEAT_MS, ZoneInfo(zone), quiet, least)


def _alert(key: str = "k", level: str = "warning", text: str = "Trouble.") -> Raised:
    return Raised(level, key, text, "Mend it.", "lxalgo_001", "tests", 1)


def _at(hour: int, day: int = 1) -> int:
    return ((day - 1) * 24 + hour) * 3_600_000


def test_the_same_trouble_in_one_batch_is_one_line_with_its_count() -> None:
    (notice,) = _book().take([_alert(), _alert(), _alert(), _alert("other", text="Else.")], 0)
    assert notice.html.count("Trouble.") == 1
    assert "×3" in notice.html
    assert "Else." in notice.html


def test_trouble_that_goes_on_is_told_again_only_after_a_while_with_its_count() -> None:
    book = _book()
    book.take([_alert()], 0)
    told = [moment for moment in range(60_000, AGAIN_MS + 60_000, 60_000) if book.take([_alert()], moment)]
    assert told == [AGAIN_MS]


def test_a_critical_alert_repeats_until_it_is_acknowledged() -> None:
    book = _book()
    book.take([_alert(level="critical")], 0)
    assert book.take([], REPEAT_MS - 1) == []
    (again,) = book.take([], REPEAT_MS)
    assert again.repeats
    assert book.take([], REPEAT_MS + 1) == []
    assert book.acknowledge() == 1
    assert book.take([], REPEAT_MS + OVER_MS - 1 - REPEAT_MS) == []
    assert book.acknowledge() == 0


def test_an_acknowledgement_holds_for_the_episode_whose_end_is_told_and_then_the_key_is_new() -> None:
    book = _book()
    book.take([_alert(level="critical")], 0)
    book.acknowledge()
    for minute in range(10, 61, 10):
        # watchers raise it again while it lasts: it stays silent
        assert book.take([_alert(level="critical")], minute * 60_000) == []
    ended = 60 * 60_000 + OVER_MS
    assert book.take([], ended) == []
    (over,) = book.take([], ended + 1)
    assert "Over" in over.html
    assert "Trouble." in over.html
    assert over.silent
    assert book.take([], ended + 2) == []
    (again,) = book.take([_alert(level="critical")], ended + 3)
    assert "Over" not in again.html
    assert len(book.take([], ended + 3 + REPEAT_MS)) == 1


def test_what_was_raised_once_is_never_called_over_although_its_key_is_new_after_a_while() -> None:
    book = _book()
    book.take([_alert(level="critical", text="The daily loss is reached: halted.")], 0)
    book.acknowledge()
    assert [book.take([], minute * 60_000) for minute in range(1, 180)] == [[]] * 179
    (again,) = book.take([_alert(level="critical", text="The daily loss is reached: halted.")], 180 * 60_000)
    assert "halted" in again.html


def test_the_end_that_a_watcher_sees_is_told_soon_to_whom_the_trouble_was_told() -> None:
    book = _book()
    book.take([_alert("a"), _alert("b", text="Else."), _alert("c", "critical")], 0)
    book.end(["a", "b", "c", "unknown"], 240_000)
    assert book.take([], 240_000 + SETTLED_MS - 1) == []
    critical, warning = book.take([], 240_000 + SETTLED_MS)
    assert (critical.level, warning.level) == ("critical", "warning")
    assert warning.html.count("Over") == 2, "one message for all of a level"
    assert [alert.key for alert in warning.alerts] == ["a", "b"]
    assert len(warning.lines) == 2
    assert critical.silent
    assert warning.silent
    assert not critical.ids
    assert book.acknowledge() == 0
    assert book.take([], 240_000 + 3 * REPEAT_MS) == [], "what is over repeats no longer"


def _end(key: str = "k", service: str = "tests") -> Raised:
    return Raised("over", key, "It is over.", "", "lxalgo_001", service, 1)


def test_the_end_that_another_service_tells_is_told_also_of_what_was_raised_once() -> None:
    book = _book()
    assert book.take([_end()], 0) == [], "nobody raised it"
    book.take([_alert(level="critical", text="The backup failed.")], 60_000)
    book.take([_end()], 120_000)
    (over,) = book.take([], 120_000 + SETTLED_MS)
    assert "Over" in over.html
    assert "The backup failed." in over.html
    assert over.level == "critical"
    assert len(book.take([_alert(level="critical", text="The backup failed.")], 600_000)) == 1, "it is new"
    # in one reading: raised, ended, raised again
    assert book.take([_end(), _alert(level="critical", text="The backup failed.")], 700_000) == []
    assert not any("Over" in notice.html for notice in book.take([], 700_000 + SETTLED_MS))


def test_the_end_of_what_lasts_is_told_however_late_and_never_by_silence() -> None:
    book, said = _book(), "Equity is 8 % below the day reference: no entries."
    halt = Raised("critical", "halt", said, "It ends with the day.", "lxalgo_001", "tests", 1, lasting=True)
    book.take([halt], 0)
    book.take([halt], 120_000)
    book.acknowledge()
    for hour in range(1, 21):
        # other trouble comes and is forgotten
        assert len(book.take([_alert(f"other {hour}")], _at(hour))) == 1
        assert book.take([], _at(hour) + 30 * 60_000) == []
    assert "halt" in book.open_keys("tests")
    book.take([_end("halt")], _at(23))
    (over,) = book.take([], _at(23) + SETTLED_MS)
    assert "Over" in over.html
    assert said in over.html
    assert book.take([_alert("another")], _at(26)) != []
    assert "halt" not in book.state.known, "what is over is forgotten as everything is"


def test_trouble_of_two_services_is_over_when_both_say_so() -> None:
    book = _book()
    book.take([_alert(), Raised("warning", "k", "In other words.", "", "lxalgo_001", "another", 1)], 0)
    book.take([_end()], 60_000)
    assert book.take([], 60_000 + SETTLED_MS) == []
    book.take([_end(service="another")], 300_000)
    assert len(book.take([], 300_000 + SETTLED_MS)) == 1


def test_trouble_that_comes_and_goes_is_no_storm() -> None:
    book, told = _book(), []
    for minute in range(180):
        on = minute % 4 < 2
        if minute % 4 == 2:
            book.end(["k"], minute * 60_000)
        told += [(minute, "Over" in notice.html) for notice in book.take([_alert()] if on else [], minute * 60_000)]
    overs = [minute for minute, over in told if over]
    assert overs == [3], "it came back at once: its end must last longer before it is told again"
    assert len(told) <= 2 + 180 // 30


def test_trouble_that_came_back_before_its_end_was_told_goes_on() -> None:
    book = _book()
    book.take([_alert(level="critical")], 0)
    book.end(["k"], 120_000)
    assert book.take([_alert(level="critical")], 150_000) == []
    assert book.take([], 120_000 + 2 * SETTLED_MS) == []
    assert len(book.take([], REPEAT_MS)) == 1, "it repeats: nobody acknowledged it and it is not over"


def test_a_warning_that_its_watchers_no_longer_raise_is_over_without_an_acknowledgement() -> None:
    book = _book()
    for minute in range(0, 31, 10):
        book.take([_alert()], minute * 60_000)
    assert book.take([], 30 * 60_000 + OVER_MS) == []
    (over,) = book.take([], 30 * 60_000 + OVER_MS + 1)
    assert "not raised for 25 minutes" in over.html
    assert over.level == "warning"
    info = _book()
    for minute in range(0, 31, 10):
        info.take([_alert(level="info")], minute * 60_000)
    assert info.take([], 120 * 60_000) == [], "news have no end"


def test_an_end_in_quiet_hours_is_told_after_them_with_what_was_held() -> None:
    book = _book(NIGHT)
    book.take([_alert()], _at(23))
    book.end(["k"], _at(23) + 600_000)
    assert book.take([], _at(2, day=2)) == []
    trouble, over = book.take([], _at(7, day=2))
    assert "Trouble." in trouble.html
    assert "Over" in over.html


def test_acknowledged_trouble_in_other_words_is_news_and_other_measurements_are_not() -> None:
    book = _book()
    book.take([_alert(level="critical", text="No sign of life (not for 65 s), 3.2 % down.")], 0)
    book.acknowledge()
    same = _alert(level="critical", text="No sign of life (not for 665 s), 3.9 % down.")
    assert book.take([same], 600_000) == []
    (news,) = book.take([_alert(level="critical", text="It could not be closed.")], 700_000)
    assert "could not be closed" in news.html
    # the acknowledgement was for the earlier text: it repeats again
    assert len(book.take([], 700_000 + REPEAT_MS)) == 1
    # a second source that reports the same problem in other words causes no second notice
    other = Raised("critical", "k", "It is unhealthy.", "", "lxalgo_001", "another service", 1)
    assert book.take([other], 700_001 + REPEAT_MS) == []


def test_the_button_under_an_alert_acknowledges_that_one() -> None:
    book = _book()
    (first,) = book.take([_alert("a", "critical", "First.")], 0)
    (second,) = book.take([_alert("b", "critical", "Second.")], 1)
    assert first.ids != second.ids
    assert book.acknowledge(tuple(first.ids)) == 1
    assert book.acknowledge(tuple(first.ids)) == 0
    (again,) = book.take([], REPEAT_MS + 1)
    assert "Second." in again.html
    assert "First." not in again.html
    # a button from before the text changed acknowledges nothing newer
    book.take([_alert("b", "critical", "Worse.")], REPEAT_MS + 2)
    assert book.acknowledge(tuple(second.ids)) == 0
    many = _book().take([_alert(f"k{n}", "critical") for n in range(20)], 0)
    assert all(len(f"a|{','.join(notice.ids)}") <= 64 for notice in many)
    assert sum(len(notice.ids) for notice in many) == 20


def test_the_book_stays_bounded() -> None:
    book = _book()
    for number in range(3_000):
        book.take([_alert(f"k{number}", "critical")], number)
    assert len(book.state.known) <= MOST_KNOWN


def test_acknowledged_trouble_that_ended_is_new_when_it_comes_back() -> None:
    book = _book()
    book.take([_alert(level="critical")], 0)
    book.acknowledge()
    assert book.take([_alert(level="critical")], 60_000) == []
    assert len(book.take([_alert(level="critical")], 60_000 + FORGET_MS + 1)) == 1


def test_trouble_that_gets_worse_is_told_at_once() -> None:
    book = _book()
    book.take([_alert(level="warning")], 0)
    (notice,) = book.take([_alert(level="critical")], 1)
    assert notice.level == "critical"


def test_quiet_hours_hold_all_but_critical_alerts_until_the_morning() -> None:
    book = _book(NIGHT)
    assert book.take([_alert("a")], _at(23)) == []
    assert [notice.level for notice in book.take([_alert("b", "critical")], _at(23))] == ["critical"]
    book.acknowledge()
    assert book.take([_alert("c", "info")], _at(3, day=2)) == []
    levels = [notice.level for notice in book.take([], _at(7, day=2))]
    assert levels == ["warning", "info"]


def test_quiet_hours_are_those_of_the_operators_zone() -> None:
    berlin = _book(NIGHT, zone="Europe/Berlin")
    assert berlin.take([_alert()], _at(21) + 45 * 60_000) == []
    assert len(_book(NIGHT, zone="UTC").take([_alert()], _at(21) + 45 * 60_000)) == 1


def test_what_is_below_the_level_is_not_told() -> None:
    assert _book(least="warning").take([_alert(level="info")], 0) == []


def test_the_book_outlives_a_restart() -> None:
    book = _book(NIGHT)
    book.take([_alert("c", "critical"), _alert("h")], _at(23))
    again = AlertPolicy(msgspec.convert(msgspec.to_builtins(book.state), AlertPolicyState), REPEAT_MS, UTC, NIGHT)
    assert [notice.repeats for notice in again.take([], _at(23) + REPEAT_MS)] == [True]
    assert "Trouble." in again.take([], _at(8, day=2))[0].html


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(max_size=8), st.sampled_from(["info", "warning", "critical", "odd"]), st.text(max_size=2_000)
        ),
        max_size=40,
    )
)
def test_any_text_makes_a_message_that_telegram_reads_and_that_is_short_enough(
    rows: list[tuple[str, str, str]],
) -> None:
    for notice in _book().take([_alert(key, level, text) for key, level, text in rows], 0):
        assert length(read_html(notice.html)) <= 4_096


def test_a_taste_decides_what_a_person_gets() -> None:
    assert AlertPreferences().wants("info", 0)
    assert AlertPreferences(on=False).wants("critical", 0)
    assert not AlertPreferences(on=False).wants("warning", 0)
    assert not AlertPreferences(level="warning").wants("info", 0)
    assert not AlertPreferences(muted_until_ms=10).wants("warning", 9)
    assert AlertPreferences(muted_until_ms=10).wants("critical", 9)
    assert AlertPreferences(muted_until_ms=10).wants("warning", 10)


def _status(state: BotState, wish: str = "running", data: str = "synced") -> Status:
    bot = BotStatus("lxalgo_001", state, data, 1.0, wish, "Look.", [], None, None, None)
    ill = ServiceStatus("websocket_listener", "exited", None, "Exited (1)")
    well = ServiceStatus("trading_redis", "running", True, "Up")
    return Status([bot], [well, ill], [], ["Redis is away."], None, NOW)


def test_each_trouble_of_the_status_is_an_alert_of_its_own() -> None:
    keys = {alert.key for alert in troubles(_status(BotState.STOPPED))}
    assert keys == {"bot-down:lxalgo_001", "service-down:websocket_listener", "away:redis"}
    assert "bot-down:lxalgo_001" not in {alert.key for alert in troubles(_status(BotState.STOPPED, "stopped"))}
    assert "guard:heartbeat:lxalgo_001" in {alert.key for alert in troubles(_status(BotState.UNHEALTHY))}
    assert "guard:data:lxalgo_001" in {alert.key for alert in troubles(_status(BotState.RUNNING, data="stale"))}


def test_an_alert_of_the_command_centre_itself_is_as_one_of_the_stream() -> None:
    alert = Alert(Level.WARNING, "key", "Trouble.", "Look.", "lxalgo_001", lasting=True)
    sent = Raised("warning", "key", "Trouble.", "Look.", "lxalgo_001", "telegram_manager", 5, lasting=True)
    assert raised_here(alert, "telegram_manager", 5) == sent
