"""Tables of the history: filtered, by page, and as CSV of what is shown."""

import csv
import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from decimal import Decimal

from alpha.errors import Rejected
from alpha.model.money import plain
from dashboard.asked import PER_FILE, Asked, bot_bar, filter_form, pager, range_bar
from dashboard.markup import page_html
from operations import history_pages, pages, positions, search
from operations.business_time import business_now
from operations.context import Operations
from operations.page import Page
from operations.search import Filter, Rows


@dataclass(frozen=True, slots=True)
class Listing:
    """One table: how its rows are found and shown, its filters, and whether its times are of the wall clock."""

    find: Callable[[Operations, Filter], Awaitable[Rows[object]]]
    show: Callable[[list[object], Operations, datetime], Page]
    filters: tuple[str, ...]
    wall: bool = False


async def _orders(platform: Operations, asked: Filter) -> Rows[object]:
    words = asked.words.lower().split()
    found = [
        row
        for row in await positions.orders(platform, asked.bot)
        if asked.symbol in ("", row.symbol)
        and all(
            word in f"{row.symbol} {row.kind} {row.side} {row.order_id} {row.order_link_id}".lower() for word in words
        )
    ]
    end = asked.offset + asked.limit
    return Rows(list(found[asked.offset : end]), len(found) > end)


LISTINGS: dict[str, Listing] = {
    "trades": Listing(
        search.trips,  # type: ignore[arg-type]
        lambda rows, platform, now: history_pages.trips_page(rows, platform.zone, now),  # type: ignore[arg-type]
        ("symbol", "reason", "tag", "search"),
    ),
    "fills": Listing(
        search.fills,  # type: ignore[arg-type]
        lambda rows, platform, now: pages.fills_page(rows, platform.zone, now),  # type: ignore[arg-type]
        ("symbol", "reason", "search"),
    ),
    "orders": Listing(
        _orders,
        lambda rows, platform, now: pages.orders_page(rows, platform.zone, now),  # type: ignore[arg-type]
        ("symbol", "search"),
    ),
    "alerts": Listing(
        search.alerts,  # type: ignore[arg-type]
        lambda rows, platform, now: pages.alerts_page(rows, platform.zone),  # type: ignore[arg-type]
        ("search",),
        wall=True,
    ),
    "audit": Listing(
        search.commands,  # type: ignore[arg-type]
        lambda rows, platform, now: pages.commands_page(rows, platform.zone),  # type: ignore[arg-type]
        ("search",),
        wall=True,
    ),
}


async def _now(platform: Operations, listing: Listing, asked: Asked) -> datetime:
    return platform.wall_now() if listing.wall else await business_now(platform, asked.bot)


async def table(platform: Operations, name: str, asked: Asked) -> str:
    """Return the HTML of one page of a table with its filters."""
    listing = LISTINGS[name]
    now = await _now(platform, listing, asked)
    found = await listing.find(platform, asked.filter(now))
    shown = page_html(listing.show(found.rows, platform, now), cards=name in {"orders", "audit"})
    bars = "" if name == "orders" else range_bar(asked)
    file = f'<a class=button href="{asked.url(f"/{name}.csv")}" download>CSV</a>'.replace("&", "&amp;")
    form = f"<div class=tools>{filter_form(asked, listing.filters)}{file}</div>"
    return f"{bot_bar(asked, platform.registry)}{bars}{form}{shown}{pager(asked, more=found.more)}"


async def as_csv(platform: Operations, name: str, asked: Asked) -> str:
    """Return all rows that the filters leave, at most PER_FILE, as CSV. Times in ISO 8601 UTC."""
    listing = LISTINGS.get(name)
    if listing is None:
        raise Rejected(f"There is no table {name!r}.")
    now = await _now(platform, listing, asked)
    found = await listing.find(platform, asked.filter(now, limit=PER_FILE))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if found.rows:
        names = [field.name for field in fields(found.rows[0])]  # type: ignore[arg-type]
        writer.writerow(names)
        writer.writerows([[_cell(getattr(row, field)) for field in names] for row in found.rows])
    return out.getvalue()


def _cell(value: object) -> str:
    """One value; a text that a spreadsheet would take for a formula gets an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}"
    text = str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
