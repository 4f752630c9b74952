"""Sixty bots: totals first, grouped by strategy, those that need somebody by name, the others by page."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from alpha.errors import Rejected
from alpha.registry import Registry, load_registry
from dashboard.front import _bots
from operations.arguments import read_words
from operations.commands import BY_NAME, Query
from operations.page import Table, Words
from operations.pages import status_page
from operations.status import BotState, BotStatus, Status
from telegram_manager.buttons import pick_bot, read_press, under_question
from tests.support.world import ROOT

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def sixty(*, troubled: int = 2) -> Status:
    """Sixty bots of three strategies."""
    rows = [
        BotStatus(
            f"bot_{number + 100}", BotState.UNHEALTHY if number < troubled else BotState.RUNNING, "synced", 1.0, "running",
            "Look." if number < troubled else "Waits.", [], Decimal(1), Decimal(2), 1,
            strategy=("Momentum", "LXAlgo", "ShortSeller")[number % 3],
            unrealised={"USDT": Decimal(1)}, today={"USDT": Decimal(2)},
        )
        for number in range(60)
    ]  # fmt: skip
    return Status(rows, [], [], [], NOW, NOW)


def test_the_status_of_sixty_bots_fits_on_a_screen() -> None:
    page = status_page(sixty(), UTC)
    table = page.blocks[0]
    assert isinstance(table, Table)
    assert [row[0].text for row in table.rows] == ["all", "Momentum", "LXAlgo", "ShortSeller"]
    assert [cell.text for cell in table.rows[0]][1] == "60"
    assert "60" in table.rows[0][4].text
    assert "120" in table.rows[0][5].text
    said = [block.text for block in page.blocks if isinstance(block, Words)]
    assert said[0] == "58 running, 2 unhealthy."
    assert [text for text in said if text.startswith("bot_")] == ["bot_100: Look.", "bot_101: Look."]
    assert "/status 1 to /status 4" in said[3]
    assert len(page.blocks) < 8


def test_a_page_lists_its_bots_below_the_total_of_all() -> None:
    page = status_page(sixty(), UTC, 4)
    table = page.blocks[0]
    assert isinstance(table, Table)
    assert table.title == "page 4 of 4"
    assert [row[0].text for row in table.rows][:2] == ["all", "bot_145"]
    assert len(table.rows) == 16
    with pytest.raises(Rejected, match="4 pages, got page 5"):
        status_page(sixty(), UTC, 5)


def test_few_bots_are_shown_as_ever() -> None:
    seen = sixty()
    page = status_page(replace(seen, bots=seen.bots[:3]), UTC)
    table = page.blocks[0]
    assert isinstance(table, Table)
    assert [row[0].text for row in table.rows] == ["bot_100", "bot_101", "bot_102", "all"]


def test_the_dashboard_groups_them_and_shows_the_troubled_ones_open() -> None:
    html = _bots(sixty(), [])
    assert html.count("<details>") == 3
    assert html.count("need somebody") == 2
    assert html.index("Momentum") < html.index("<details>")


def test_buttons_of_sixty_bots_stay_within_telegrams_limits() -> None:
    model = load_registry(ROOT / "bots.toml").bots[0]
    registry = Registry(
        tuple(
            replace(model, id=f"bot_{n:03}", name=f"Bot {n}", container="pack", tag=f"b{chr(97 + n % 26)}{n // 26}")
            for n in range(60)
        )
    )
    for page in range(3):
        rows = pick_bot(registry, "flatten", page)
        assert sum(len(row) for row in rows) <= 100
        assert all(len(row) <= 8 for row in rows)
    (press,) = [read_press(data) for row in rows for label, data in row if label == "◀️"]
    assert press is not None
    assert (press.kind, press.name, press.page) == ("p", "flatten", 1)
    question = BY_NAME["status"]
    assert isinstance(question, Query)
    rows = under_question(registry, question, (), 0, 1, picture=False)
    assert all(len(row) <= 8 for row in rows)
    assert read_words(registry, "status", question.usage, question.example, ["bot_007"]).words == ("bot_007",)
