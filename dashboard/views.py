"""The pages behind the front page: the command centre's queries, charts, one trade, figures, logs and the system."""

import asyncio
from datetime import timedelta
from html import escape
from urllib.parse import urlencode

from alpha.errors import Rejected
from dashboard import log_files, tables
from dashboard.asked import DEFAULT_RANGE, Asked, bot_bar, range_bar
from dashboard.chart_data import require_symbol, symbols
from dashboard.charts import chart_html
from dashboard.heat_map import heat_map_html
from dashboard.markup import page_html
from dashboard.settings import DashboardSettings
from operations import analysis, history_pages
from operations.arguments import read_words
from operations.business_time import business_now
from operations.candles import intervals
from operations.commands import QUERIES
from operations.context import Operations, redis_faults
from operations.page import Cell, Column, Facts, Page, Table, Tone
from operations.system import lights, system_facts
from operations.trade import trade

#: Queries available to a reader without a role, in menu order.
MENU = (
    *("analytics", "daily", "performance", "trades", "fills", "orders"),
    *("exposure", "risk", "balance", "issues", "sync", "alerts", "analysis", "model"),
    *("entries", "slippage"),
)


async def answer(platform: Operations, name: str, words: list[str], asked: Asked) -> str:
    """Return one page of the menu: a table with filters, or the answer to a query with its range and bot.

    `words` are those of the command, as in Telegram; they take precedence. Operations errors propagate.
    """
    question = next(each for each in QUERIES if each.name == name and name in MENU)
    if not words and name in tables.LISTINGS:
        return await tables.table(platform, name, asked)
    if not words:
        words = await _words(platform, question.usage, name, asked)
    args = read_words(platform.registry, question.name, question.usage, question.example, words)
    if name == "analysis" and args.symbol is None:
        return heat_map_html(await analysis.ratings(platform), platform.zone)
    bars = bot_bar(asked, platform.registry) if "[bot]" in question.usage else ""
    bars += range_bar(asked) if "[period]" in question.usage or name == "daily" else ""
    return bars + page_html(await question.ask(platform, args), cards=name in ("exposure", "risk", "balance"))


async def _words(platform: Operations, usage: str, name: str, asked: Asked) -> list[str]:
    """The words of the command that mean what the URL asks for."""
    words = [] if asked.bot is None or "[bot]" not in usage else [asked.bot.container]
    if "[period]" in usage:
        return [*words, *asked.span.split()]
    if name == "daily":
        period = asked.period(await business_now(platform, asked.bot))
        return [*words, str(max(1, min(period.days, 1_000)))]
    return words


async def chart(platform: Operations, symbol: str | None, asked: Asked) -> str:
    """Return the page of one symbol's candles, by default the one traded last."""
    if symbol is not None:
        await require_symbol(platform, symbol)
    known = await symbols(platform)
    symbol = symbol or next(iter(known), None)
    if symbol is None:
        return "<section><p class=dim>No bot follows a symbol yet.</p></section>"
    async with redis_faults(platform.live):
        offered = await intervals(platform)
    chosen = asked.interval or (offered[0] if offered else "")
    ways = "".join(
        f'<a href="{escape(asked.url(f"/chart/{symbol}", interval=each))}"{_here(each == chosen)}>{each}</a>'
        for each in offered
    )
    names = "".join(
        f'<a href="{escape(asked.url(f"/chart/{each}"))}"{_here(each == symbol)}>{escape(each)}</a>'
        for each in sorted(known)
    )
    source = asked.url(f"/data/candles/{symbol}", interval=chosen)
    return (
        f'<nav class=choice aria-label="Symbol">{names}</nav>{bot_bar(asked, platform.registry)}{range_bar(asked)}'
        f'<section><h2>{escape(symbol)}</h2><nav class=choice aria-label="Interval">{ways}</nav>'
        f"{chart_html('candles', source, f'Candles of {symbol}', tall=True)}</section>"
    )


def _here(here: bool) -> str:
    return ' class=here aria-current="true"' if here else ""


async def trade_page(platform: Operations, name: str, audit: Operations | None) -> str:
    """Return everything about one trade, with the chart of its life. `audit` reads who asked for what, if anything may."""
    seen = await trade(platform, name, audit=audit)
    source = f"/data/trade/{seen.trip.trade_id}?{urlencode({'interval': _interval(seen.trip.held)})}"
    drawn = chart_html("candles", source, f"{seen.trip.symbol} while the trade lived")
    return f"<section>{drawn}</section>{page_html(history_pages.trade_page(seen, platform.zone), cards=True)}"


def _interval(held: timedelta) -> str:
    """The interval at which a trade of this length has some hundred candles."""
    hours = held.total_seconds() / 3600
    return "5" if hours < 24 else "15" if hours < 72 else "60" if hours < 400 else "240"


async def system(platform: Operations, settings: DashboardSettings) -> str:
    """Return the state of every part, figures of the system, and errors in the logs of a day."""
    lit, facts = await lights(platform), await system_facts(platform)
    parts = Table(
        (Column("part"), Column("state"), Column("detail")),
        [
            [Cell(row.name), Cell("well" if row.tone is Tone.GOOD else "look", row.tone), Cell(row.detail)]
            for row in lit
        ],
    )
    page = Page("System", [parts, Facts([(fact.name, Cell(fact.value)) for fact in facts], "Figures")])
    # logs are files of any size
    return page_html(page, cards=True) + await asyncio.to_thread(_errors, platform, settings)


def _errors(platform: Operations, settings: DashboardSettings) -> str:
    rows = log_files.errors_of_a_day(settings.dashboard_logs_dir, platform.wall_now())
    if not rows:
        return "<section><h2>Logs</h2><p class=dim>No folder of logs is given (DASHBOARD_LOGS_DIR).</p></section>"
    lines = "".join(
        f'<tr><td><a href="/logs/{escape(row.service)}">{escape(row.service)}</a></td>'
        f"<td class='right {'bad' if row.count else 'good'}'>{row.count:,}</td><td class=wide>{escape(row.newest)}</td></tr>"
        for row in rows
    )
    return (
        "<section><h2>Errors of the last day</h2><div class=scroll><table><thead><tr><th scope=col>service</th>"
        f"<th scope=col class=right>errors</th><th scope=col class=wide>newest</th></tr></thead><tbody>{lines}</tbody>"
        "</table></div></section>"
    )


def logs(settings: DashboardSettings, service: str, level: str, words: str) -> str:
    """Return the log of one service, or the choice of services."""
    known = log_files.services(settings.dashboard_logs_dir)
    if not known:
        return "<section><h2>Logs</h2><p class=dim>No folder of logs is given (DASHBOARD_LOGS_DIR).</p></section>"
    service = service or next(iter(known))
    lines = log_files.tail(settings.dashboard_logs_dir, service, level, words)
    names = "".join(f'<a href="/logs/{escape(each)}"{_here(each == service)}>{escape(each)}</a>' for each in known)
    options = "".join(
        f"<option{' selected' if each == level else ''}>{each}</option>" for each in ("", *log_files.LEVELS)
    )
    query = urlencode({"level": level, "search": words})
    return (
        f'<nav class=choice aria-label="Service">{names}</nav>'
        f'<form class=filter role=search action="/logs/{escape(service)}"><label>level <select name=level>{options}</select>'
        f'</label><label>search <input id=search type=search name=search value="{escape(words)}"></label>'
        "<button>Filter</button></form>"
        f'<section><h2>{escape(service)}</h2><pre id=tail tabindex=0 data-src="/data/logs/{escape(service)}?{escape(query)}">'
        f"{escape(chr(10).join(lines)) or 'No such line.'}</pre></section>"
    )


def require_known(name: str) -> str:
    """The name of a table. Rejected for any other."""
    if name not in tables.LISTINGS or name == "audit":
        raise Rejected(f"There is no table {name[:40]!r}.")
    return name


__all__ = ["DEFAULT_RANGE", "MENU", "answer", "chart", "logs", "require_known", "system", "trade_page"]
