"""When the market behind a perpetual is open: contracts on stocks, forex and commodities have trading hours.

Bybit names the kind of the underlying (`symbolType`) and the region of its market (`marketRegion`, "used to determine its
trading calendar and market session hours"), not the hours themselves; outside them it limits price moves and may take
only reduce-only orders. So the regular hours are a table here, in the market's own time zone. Holidays and half days are
not in it: on such a day the exchange refuses an order, and the silence of its stream is no fault. An unknown region
counts as open, because nothing here may keep an exit from being tried.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from alpha.model.instrument import Instrument
from alpha.model.timestamp import at

#: Kinds of underlying whose market closes (`symbolType`); an ordinary coin and all others trade always.
WITH_SESSIONS = frozenset({"stock", "forex", "commodity"})
_DAY_MIN = 24 * 60
#: A closed session is at most a long weekend; looking further finds nothing new.
_DAYS_AHEAD = 8
_MARKETS = {"US": "US", "CN": "mainland China", "HK": "Hong Kong", "KR": "South Korea"}


@dataclass(frozen=True, slots=True)
class TradingHours:
    """Regular hours of a market: for each weekday (Monday is 0) the open spans, in minutes of the local day."""

    zone: str
    spans: dict[int, tuple[tuple[int, int], ...]]


def _weekdays(zone: str, *spans: tuple[int, int]) -> TradingHours:
    return TradingHours(zone, dict.fromkeys(range(5), spans))


def _around_the_clock(opens: int, *pauses: tuple[int, int]) -> TradingHours:
    """Sunday `opens` to Friday 17:00 in New York, with daily `pauses` on the days between."""
    whole: list[tuple[int, int]] = []
    begin = 0
    for pause, resumes in pauses:
        whole.append((begin, pause))
        begin = resumes
    whole.append((begin, _DAY_MIN))
    return TradingHours(
        "America/New_York",
        {6: ((opens, _DAY_MIN),), **dict.fromkeys(range(4), tuple(whole)), 4: ((0, 17 * 60),)},
    )


_HOURS = {
    ("stock", "US"): _weekdays("America/New_York", (9 * 60 + 30, 16 * 60)),
    ("stock", "CN"): _weekdays("Asia/Shanghai", (9 * 60 + 30, 11 * 60 + 30), (13 * 60, 15 * 60)),
    ("stock", "HK"): _weekdays("Asia/Hong_Kong", (9 * 60 + 30, 12 * 60), (13 * 60, 16 * 60)),
    ("stock", "KR"): _weekdays("Asia/Seoul", (9 * 60, 15 * 60 + 30)),
    ("forex", ""): _around_the_clock(17 * 60),
    ("commodity", ""): _around_the_clock(18 * 60, (17 * 60, 18 * 60)),
}


def has_sessions(instrument: Instrument) -> bool:
    """True when the market of this contract's underlying closes."""
    return instrument.symbol_type in WITH_SESSIONS


def silence_is_a_fault(symbols: Collection[str], with_sessions: Collection[str]) -> bool:
    """Whether no data at all of these symbols means that the stream is broken: one of them trades always."""
    return any(symbol not in with_sessions for symbol in symbols)


def hours_of(symbol_type: str, market_region: str) -> TradingHours | None:
    """The regular hours; None when they are not known, or when the contract trades always."""
    if symbol_type not in WITH_SESSIONS:
        return None
    return _HOURS.get((symbol_type, market_region)) or _HOURS.get((symbol_type, ""))


def is_open(symbol_type: str, market_region: str, at_ms: int) -> bool:
    """Whether the market is in its regular hours at this time (UTC milliseconds); True where they are not known."""
    hours = hours_of(symbol_type, market_region)
    return hours is None or any(begin <= at_ms < end for begin, end in _spans_around(hours, at_ms))


def next_open_ms(symbol_type: str, market_region: str, at_ms: int) -> int | None:
    """When the market opens next after `at_ms`; None where the hours are not known."""
    hours = hours_of(symbol_type, market_region)
    if hours is None:
        return None
    return min((begin for begin, _ in _spans_around(hours, at_ms) if begin > at_ms), default=None)


def closed_text(instrument: Instrument, at_ms: int) -> str | None:
    """A sentence while the market of this contract is closed; None while it is open or has no hours."""
    if is_open(instrument.symbol_type, instrument.market_region, at_ms):
        return None
    where = _MARKETS.get(instrument.market_region, instrument.market_region)
    market = f"the {where} {instrument.symbol_type} market" if where else f"the {instrument.symbol_type} market"
    opens_ms = next_open_ms(instrument.symbol_type, instrument.market_region, at_ms)
    until = f" until {at(opens_ms):%a %d %b %Y %H:%M} UTC" if opens_ms is not None else ""
    return f"{instrument.symbol}: {market} is closed{until}."


def _spans_around(hours: TradingHours, at_ms: int) -> tuple[tuple[int, int], ...]:
    return _spans(hours.zone, tuple(sorted(hours.spans.items())), at_ms // 86_400_000)


@lru_cache(256)
def _spans(
    zone: str, spans: tuple[tuple[int, tuple[tuple[int, int], ...]], ...], day: int
) -> tuple[tuple[int, int], ...]:
    """Open spans in UTC milliseconds of the local days around a UTC day, oldest first; spans that meet are joined."""
    local, by_weekday = ZoneInfo(zone), dict(spans)
    first = datetime.fromtimestamp(day * 86_400, UTC).date() - timedelta(days=1)
    found: list[tuple[int, int]] = []
    for ahead in range(_DAYS_AHEAD + 2):
        date = first + timedelta(days=ahead)
        midnight = datetime(date.year, date.month, date.day, tzinfo=local)
        for begin, end in by_weekday.get(date.weekday(), ()):
            # wall-clock arithmetic: hours are local also on the day when clocks change
            edges = [int((midnight + timedelta(minutes=minutes)).timestamp() * 1000) for minutes in (begin, end)]
            if found and found[-1][1] == edges[0]:
                found[-1] = (found[-1][0], edges[1])
            else:
                found.append((edges[0], edges[1]))
    return tuple(found)
