"""The outbox: sends within Telegram's rate limits, in order, through floods and outages, and never blocks the rest."""

import asyncio
import itertools
import random
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telegram.error import BadRequest, Forbidden, NetworkError, RetryAfter

from alpha.clock import Clock
from alpha.errors import Rejected, Retry
from demo.processes import Supervisor
from operations.page import BarChart, Curve, Picture
from telegram_manager.chart_worker import ChartWorker
from telegram_manager.charts import draw
from telegram_manager.outbox import Outbox
from telegram_manager.rate_limit import ALL_PER_SECOND, CHAT_MS, GROUP_PATIENT_PER_MINUTE, GROUP_PER_MINUTE, RateLimit
from telegram_manager.tests.conftest import ADMIN, VIEWER, Centre


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([1, 2, 3, -4]), st.booleans()), min_size=1, max_size=120))
def test_the_pace_stays_below_every_limit_of_telegram(wanted: list[tuple[int, bool]]) -> None:
    pace, now = RateLimit(), 0
    sent: list[tuple[int, int, bool]] = []
    for chat, urgent in wanted:
        now += pace.wait_ms(chat, now, urgent=urgent)
        assert pace.wait_ms(chat, now, urgent=urgent) == 0
        pace.sent(chat, now)
        sent.append((now, chat, urgent))
    for moment, chat, _ in sent:
        within = [other for other in sent if moment <= other[0] < moment + 1_000]
        assert len(within) <= ALL_PER_SECOND
        patient = [other for other in within if other[1] == chat and not other[2]]
        assert len(patient) <= 2 - (CHAT_MS >= 1_000)
        if chat < 0:
            assert (
                len([other for other in sent if other[1] == chat and moment <= other[0] < moment + 60_000])
                <= GROUP_PER_MINUTE
            )


def test_what_telegram_says_to_wait_is_waited_in_that_chat_and_in_no_other() -> None:
    pace = RateLimit()
    pace.hold(1, 3, 1_000)
    assert pace.wait_ms(1, 1_000, urgent=True) == 3_000
    assert pace.wait_ms(1, 3_999) == 1
    assert pace.wait_ms(1, 4_000) == 0
    assert pace.wait_ms(2, 1_000) == 0


def test_a_flood_of_answers_leaves_room_for_what_is_urgent_in_a_group() -> None:
    pace, now = RateLimit(), 0
    for _ in range(GROUP_PATIENT_PER_MINUTE):
        now += pace.wait_ms(-4, now)
        pace.sent(-4, now)
    assert pace.wait_ms(-4, now) > 30_000
    for _ in range(GROUP_PER_MINUTE - GROUP_PATIENT_PER_MINUTE):
        assert pace.wait_ms(-4, now, urgent=True) == 0
        pace.sent(-4, now)


async def test_messages_of_a_chat_keep_their_order_through_faults_and_floods() -> None:
    outbox = Outbox(pace=RateLimit(chat_ms=0))
    came: list[int] = []
    faults = iter([NetworkError("down"), RetryAfter(0), NetworkError("down")])

    async def send(number: int) -> None:
        fault = next(faults, None) if number == 1 else None
        if fault is not None:
            raise fault
        came.append(number)

    await asyncio.gather(*(outbox.send(7, partial(send, n)) for n in range(5)))
    assert came == [0, 1, 2, 3, 4]
    await outbox.close()


async def test_an_urgent_message_goes_before_those_that_wait() -> None:
    outbox = Outbox()
    came: list[str] = []

    async def send(name: str) -> None:
        came.append(name)

    await outbox.send(7, lambda: send("first"))
    slow = [asyncio.create_task(outbox.send(7, partial(send, f"chart {n}"))) for n in range(3)]
    await asyncio.sleep(0)
    await outbox.send(7, lambda: send("panic"), urgent=True)
    assert came == ["first", "panic"]
    for task in slow:
        task.cancel()
    await outbox.close()


@pytest.mark.parametrize("fault", [BadRequest("chat not found"), Forbidden("bot was blocked by the user")])
async def test_what_telegram_refuses_for_good_is_not_sent_again(fault: Exception) -> None:
    outbox = Outbox(pace=RateLimit(chat_ms=0))
    tries = itertools.count()

    async def send() -> None:
        next(tries)
        raise fault

    with pytest.raises(Rejected):
        await outbox.send(7, send)
    assert next(tries) == 1
    await outbox.close()


async def test_an_answer_that_comes_too_late_is_given_up() -> None:
    moments = itertools.count(0, 1_000)
    outbox = Outbox(Clock(monotonic_ms=lambda: next(moments)), pace=RateLimit(chat_ms=0))

    async def send() -> None:
        raise NetworkError("away")

    with pytest.raises(Retry):
        await outbox.send(7, send, life_s=2)
    await outbox.close()


def _curve(points: int) -> Curve:
    equity = [10_000 + 50 * (n % 17) + n for n in range(points)]
    return Curve(
        "Equity",
        [1_700_000_000_000 + n * 3_600_000 for n in range(points)],
        [float(v) for v in equity],
        [-1.0] * points,
    )


def _noise(points: int) -> Curve:
    """A random curve that does not compress."""
    rng = random.Random(points)
    curve = _curve(points)
    equity = [10_000 + rng.gauss(0, 500) for _ in range(points)]
    return replace(curve, equity=equity, drawdown_pct=[-abs(rng.gauss(0, 9)) for _ in range(points)])


@pytest.mark.parametrize("picture", [
    _curve(2), _noise(730), BarChart("Net, USDT", [f"{n}" for n in range(90)], [(-1) ** n * 1.7**n for n in range(90)]),
], ids=["two points", "two years of noise", "ninety bars"])  # fmt: skip
def test_a_picture_is_a_small_png(picture: Picture) -> None:
    png = draw(picture)
    assert png.startswith(b"\x89PNG")
    assert len(png) < 100_000


async def test_a_drawing_process_that_died_is_started_again() -> None:
    painter = ChartWorker()
    await painter.open()
    assert painter._pool is not None
    for process in list(painter._pool._processes.values()):
        process.kill()
    died = False
    while not died:
        try:
            await painter.draw(_curve(10))
        except Retry:
            died = True
    assert (await painter.draw(_curve(10))).startswith(b"\x89PNG")
    painter.close()


async def test_a_panic_is_asked_back_before_ten_charts_are_drawn(centre: Centre, supervisor: Supervisor) -> None:
    await centre.setup.painter.open()
    drawn: list[str] = []
    said = centre.api.said
    for _ in range(10):
        centre.api.says(VIEWER, "/analytics 30d")
    centre.api.says(ADMIN, "/panic")
    await centre.api.until(lambda m: "PANIC" in m.text)
    drawn = [message.kind for message in said if message.kind == "photo"]
    assert len(drawn) < 10
    await centre.settle()
    assert len([message for message in said if message.kind == "photo"]) == 10
