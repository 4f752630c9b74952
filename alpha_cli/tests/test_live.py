"""The live view over real stores, at two widths: nothing is wider than the terminal, and a part that is away says so."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from alpha_cli.live import scene
from alpha_cli.show_page import print_page
from demo.ports import free_port
from operations.arguments import Arguments
from operations.commands import QUERIES
from operations.context import History, Operations

from tests.support.operations import house_database, house_template, platform, supervisor  # isort: skip

__all__ = ["house_database", "house_template", "platform", "supervisor"]


def _drawn(console: Console, what: object) -> str:
    console.print(what)
    out = console.file
    assert isinstance(out, io.StringIO)
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 130])
async def test_the_live_view_shows_bots_positions_and_alerts(platform: Operations, width: int) -> None:
    console = Console(width=width, height=50, file=io.StringIO())
    drawn = _drawn(console, await scene(platform, width, 50))
    assert max(map(len, drawn.splitlines())) <= width
    for text in ("shortseller", "BTC", "Positions", "Alerts"):
        assert text in drawn
    away = platform.history._settings.model_copy(update={"postgres_port": free_port()})
    blind = replace(platform, history=History(away, "test"))
    assert "PostgreSQL" in _drawn(Console(width=200, height=80, file=io.StringIO()), await scene(blind, 200, 80))


async def test_every_table_fits_eighty_columns(platform: Operations) -> None:
    for question in QUERIES:
        if question.name in ("logs", "config"):
            continue
        page = await question.ask(platform, Arguments())
        out = io.StringIO()
        print_page(page, Console(width=80, file=out, highlight=False))
        rows = [line for line in out.getvalue().splitlines() if "…" in line]
        assert not rows, (question.name, rows[:3])
