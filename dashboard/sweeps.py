"""The page of sweeps: the studies that `alpha sweep` keeps, read with a role that can only read there."""

from datetime import tzinfo
from typing import Any

from alpha.postgres.sql import queries
from dashboard.markup import page_html
from operations.context import History
from operations.page import Cell, Column, Page, Table, Tone, Words
from operations.storable import storable

SQL = queries(__file__)

#: So many of the newest studies are shown. A worker without a heartbeat for _LEASE_S is lost (as in `research.studies`).
_MOST, _LEASE_S = 200, 60
_LONGEST = 200
_COLUMNS = (
    Column("sweep"),
    Column("strategy"),
    Column("begun"),
    Column("state"),
    Column("done", right=True),
    Column("failed", right=True),
    Column("running", right=True),
    Column("best in sample", right=True),
    Column("out of sample", right=True),
    Column("deflated Sharpe", right=True),
    Column("PBO", right=True),
    Column("report"),
)


async def sweeps(studies: History, zone: tzinfo) -> str:
    """Return the page. Retry or Misconfigured when the studies cannot be read."""
    ready = await studies.value(SQL["has_verdicts"])
    found = await studies.rows(SQL["studies"], _MOST, float(_LEASE_S)) if ready else []
    page = Page(
        "Sweeps",
        [
            Words(
                "Best in sample is what tuning finds in noise too. Deflated Sharpe ratio (0.95 and above is more than luck) and "
                "PBO, the probability of back-test overfitting (below 0.50), are those of the last alpha sweep report; the "
                "report's path is on the machine that made it."
            ),
            Table(_COLUMNS, [_row(row, zone) for row in found], "No sweep has been started there."),
        ],
    )
    return page_html(page, cards=True)


def _row(row: Any, zone: tzinfo) -> list[Cell]:
    """One study."""
    return [
        Cell(_text(row["name"])),
        Cell(_text(row["strategy"])),
        Cell(f"{row['made_at'].astimezone(zone):%Y-%m-%d %H:%M}"),
        _state(row),
        Cell(f"{row['done']:,} of {row['wanted']:,}"),
        Cell(f"{row['failed']:,}", Tone.WARN if row["failed"] else Tone.PLAIN),
        Cell(f"{row['running']:,}"),
        Cell("-" if row["best"] is None else f"{row['best']:+.3f} {_text(row['objective'])}"),
        *_verdict(row),
    ]


def _state(row: Any) -> Cell:
    if row["done"] + row["failed"] >= row["wanted"]:
        return Cell("done", Tone.GOOD)
    if row["stopped"]:
        return Cell("stopped")
    return Cell("running", Tone.GOOD) if row["running"] else Cell("no worker", Tone.WARN)


def _verdict(row: Any) -> list[Cell]:
    """Return, deflated ratio, probability of overfitting and report; dashes before the first verdict."""
    if row["judged"] is None:
        return [Cell("-"), Cell("-"), Cell("-"), Cell("not judged yet", Tone.DIM)]
    tone = Tone.GOOD if row["significant"] else Tone.WARN
    pbo = row["overfitting"]
    since = "" if row["judged"] >= row["done"] + row["failed"] else f" (of {row['judged']:,} trials)"
    return [
        Cell(f"{row['out_of_sample_return'] * 100:+.1f} %"),
        Cell(f"{row['deflated']:.3f}", tone),
        Cell("-" if pbo is None else f"{pbo:.2f}", tone),
        Cell((_text(row["report"]) if row["report"] else "not written") + since),
    ]


def _text(value: str | None) -> str:
    return storable(value or "-", _LONGEST)
