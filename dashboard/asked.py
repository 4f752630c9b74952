"""What a page is asked for, all of it in the URL: time range, bot, symbol, reason, tag, words, page."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from html import escape
from urllib.parse import urlencode

from alpha.errors import Misconfigured, Rejected
from alpha.model.coin import SETTLE_COINS
from alpha.registry import Bot, Registry
from operations.candles import INTERVALS
from operations.pages import short
from operations.periods import Period, parse_period
from operations.search import Filter
from operations.storable import storable

RANGES = ("1d", "7d", "30d", "90d", "all")
DEFAULT_RANGE = "30d"
#: Rows per page of a table, and of a CSV file.
PER_PAGE, PER_FILE = 50, 10_000
_MOST_TEXT = 100
PARAMETERS = ("range", "from", "to", "bot", "symbol", "reason", "tag", "search", "interval", "coin", "page")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request's parameters. `span` is a range of RANGES, or `2025-01-01 to 2025-01-31`."""

    path: str
    span: str = DEFAULT_RANGE
    bot: Bot | None = None
    symbol: str = ""
    reason: str = ""
    tag: str = ""
    words: str = ""
    page: int = 0
    interval: str = ""
    #: The settle coin of a chart of equity; "" is USDT.
    coin: str = ""

    def period(self, now: datetime) -> Period:
        """The time range at `now` (exchange time). Rejected if it is not one."""
        return parse_period(self.span, now)

    def filter(self, now: datetime, *, limit: int = PER_PAGE) -> Filter:
        """The rows that this page shows."""
        offset = self.page * PER_PAGE if limit == PER_PAGE else 0
        return Filter(
            self.bot, self.period(now), self.symbol, self.reason, self.tag, self.words, offset=offset, limit=limit
        )

    def url(self, path: str = "", **changes: object) -> str:
        """The same question at `path`, or with other parameters; a changed filter begins at the first page."""
        asked = replace(self, **{"page": 0, **changes})  # type: ignore[arg-type]
        first, _, last = asked.span.partition(" to ")
        said = {
            **({"from": first, "to": last} if last else {"range": asked.span}),
            "bot": "" if asked.bot is None else asked.bot.container,
            "symbol": asked.symbol,
            "reason": asked.reason,
            "tag": asked.tag,
            "search": asked.words,
            "interval": asked.interval,
            "coin": asked.coin,
            "page": str(asked.page) if asked.page else "",
        }
        return f"{path or self.path}?{urlencode({name: value for name, value in said.items() if value})}"


def require_known(query: Iterable[str], known: tuple[str, ...]) -> None:
    """Refuse a parameter that the page does not have, and one that is given twice: neither could be answered."""
    given: set[str] = set()
    for name in query:
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise Rejected(f"There is no parameter {storable(name)!r:.62} on this page: {has}.")
        if name in given:
            raise Rejected(f"The parameter {name} is given twice. Give it once.")
        given.add(name)


def read_bot(registry: Registry, named: str) -> Bot:
    """The bot of this name. Rejected if there is none, or several in a container of this name."""
    try:
        return registry.find(named)
    except Misconfigured as fault:
        raise Rejected(str(fault)) from None


def read(registry: Registry, path: str, query: Mapping[str, str], *, span: str = DEFAULT_RANGE) -> Asked:
    """Read a request's query. Rejected, in one sentence, for what cannot be meant."""

    def text(name: str) -> str:
        value = storable(query.get(name, ""))
        if len(value) > _MOST_TEXT:
            raise Rejected(f"The parameter {name} is longer than {_MOST_TEXT} characters.")
        return value.strip()

    named = text("bot")
    bot = read_bot(registry, named) if named else None
    page = text("page") or "0"
    if not (page.isascii() and page.isdecimal() and len(page) < 5):
        raise Rejected(f"The page must be a number, got {page!r}.")
    first, last = text("from"), text("to")
    if first and last:
        span = f"{first} to {last}"
    elif first or last:
        raise Rejected("A range from a date to a date needs both.")
    else:
        span = text("range") or span
    coin = text("coin").upper()
    if coin and coin not in SETTLE_COINS:
        raise Rejected(f"The coin must be one of {', '.join(SETTLE_COINS)}, got {coin!r:.40}.")
    interval = text("interval")
    if interval and interval not in INTERVALS:
        raise Rejected(f"The interval must be one of {', '.join(INTERVALS)}, got {interval!r}.")
    return Asked(
        path,
        span,
        bot,
        text("symbol").upper(),
        text("reason"),
        text("tag"),
        text("search"),
        int(page),
        interval,
        coin,
    )


def range_bar(asked: Asked) -> str:
    """The choice of a time range: links, and a form from a day to a day."""
    links = "".join(_link(asked.url(span=span), span, here=asked.span == span) for span in RANGES)
    first, _, last = asked.span.partition(" to ")
    hidden = _hidden(asked, leave=("range", "from", "to", "page"))
    dates = first if last else ""
    return (
        f'<nav class=choice aria-label="Time range">{links}'
        f'<form class=dates action="{escape(asked.path)}">{hidden}'
        f'<label>from <input type=date name=from value="{escape(dates)}" required></label>'
        f'<label>to <input type=date name=to value="{escape(last)}" required></label><button>Show</button></form></nav>'
    )


def bot_bar(asked: Asked, registry: Registry) -> str:
    """The choice of a bot."""
    links = [_link(asked.url(bot=None), "all bots", here=asked.bot is None)]
    links += [_link(asked.url(bot=bot), short(bot.id), here=asked.bot == bot) for bot in registry.bots]
    chosen = "" if asked.bot is None else bot_line(asked.bot)
    return f'<nav class=choice aria-label="Bot">{"".join(links)}</nav>{chosen}'


def bot_line(bot: Bot) -> str:
    """A bot's names: that of the registry, its id, container and folder."""
    return (
        f"<p class=dim><b>{escape(bot.name)}</b>: {escape(bot.id)}, container {escape(bot.container)}, "
        f"strategy in {escape(bot.folder)}</p>"
    )


def filter_form(asked: Asked, fields: tuple[str, ...]) -> str:
    """A form for the text filters."""
    values = {"symbol": asked.symbol, "reason": asked.reason, "tag": asked.tag, "search": asked.words}
    inputs = "".join(
        f'<label>{name} <input name={name} value="{escape(values[name])}" maxlength={_MOST_TEXT} '
        f"{'id=search type=search' if name == 'search' else 'size=12'}></label>"
        for name in fields
    )
    hidden = _hidden(asked, leave=(*fields, "page"))
    return (
        f'<form class=filter role=search action="{escape(asked.path)}">{hidden}{inputs}<button>Filter</button></form>'
    )


def pager(asked: Asked, *, more: bool) -> str:
    """Links to the newer and older rows."""
    newer = f'<a rel=prev href="{escape(asked.url(page=asked.page - 1))}">newer</a>' if asked.page else ""
    older = f'<a rel=next href="{escape(asked.url(page=asked.page + 1))}">older</a>' if more else ""
    return f'<nav class=pager aria-label="Pages">{newer} <span class=dim>page {asked.page + 1}</span> {older}</nav>'


def _hidden(asked: Asked, leave: tuple[str, ...]) -> str:
    first, _, last = asked.span.partition(" to ")
    said = {
        "range": "" if last else asked.span,
        "from": first if last else "",
        "to": last,
        "bot": "" if asked.bot is None else asked.bot.container,
        "symbol": asked.symbol,
        "reason": asked.reason,
        "tag": asked.tag,
        "search": asked.words,
        "interval": asked.interval,
    }
    return "".join(
        f'<input type=hidden name={name} value="{escape(value)}">'
        for name, value in said.items()
        if value and name not in leave
    )


def _link(url: str, text: str, *, here: bool) -> str:
    mark = ' class=here aria-current="true"' if here else ""
    return f'<a href="{escape(url)}"{mark}>{escape(text)}</a>'
