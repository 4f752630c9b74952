"""What the analysis service has published: ratings of all symbols, and one symbol in detail."""

from dataclasses import dataclass
from datetime import datetime, tzinfo

import msgspec

from alpha.errors import Rejected
from alpha.live_state import keys
from alpha.model.interval import INTERVAL_MS
from alpha.model.timestamp import at
from operations.context import Operations, redis_faults
from operations.formatting import NONE, moment, zone_name
from operations.page import Block, Cell, Column, Gauges, Page, Table, Tone, Words

_MOST_SHOWN = 40
_NOTHING = (
    "analysis_service has published nothing. Start it: "
    "docker compose -f docker-compose.production.yml up -d analysis_service"
)
_VOTES = {1: Cell("buy", Tone.GOOD), -1: Cell("sell", Tone.BAD), 0: Cell("neutral", Tone.DIM)}


@dataclass(frozen=True, slots=True)
class SymbolRatings:
    """The ratings of one symbol, -1 (all sell) to 1 (all buy): overall, and by interval; None where there is no vote."""

    symbol: str
    rating: float | None
    label: str
    closed_at: datetime
    ratings: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class IntervalAnalysis:
    """The newest analysis of a symbol on one interval. `votes` are by the first value's name of each indicator."""

    symbol: str
    interval: str
    closed_at: datetime
    close: float
    rating: float | None
    label: str
    averages: float | None
    oscillators: float | None
    values: dict[str, float | None]
    votes: dict[str, int]


async def ratings(platform: Operations) -> list[SymbolRatings]:
    """All analysed symbols, by name. Retry while Redis is away."""
    async with redis_faults(platform.live):
        symbols = sorted(await platform.live.shared.smembers(keys.ANALYSIS_SYMBOLS))
        found = []
        async with platform.live.shared.pipeline(transaction=False) as pipe:
            for symbol in symbols:
                pipe.hgetall(keys.analysis(symbol, keys.ALL_INTERVALS))
            rows = await pipe.execute() if symbols else []
    for symbol, row in zip(symbols, rows, strict=True):
        if row:
            known: dict[str, float | None] = msgspec.json.decode(row["ratings"], type=dict[str, float | None])
            ordered = dict(sorted(known.items(), key=lambda one: INTERVAL_MS.get(one[0], 0)))
            found.append(
                SymbolRatings(symbol, _number(row["rating"]), row["label"], at(int(row["closed_ms"])), ordered)
            )
    return found


async def details(platform: Operations, symbol: str) -> list[IntervalAnalysis]:
    """One symbol's newest analyses, shortest interval first. Rejected when it is not analysed, Retry without Redis."""
    known = await ratings(platform)
    mine = next((row for row in known if row.symbol == symbol), None)
    if mine is None:
        names = ", ".join(row.symbol for row in known[:20])
        raise Rejected(f"{symbol} is not analysed. {f'Analysed: {names}.' if names else _NOTHING}")
    async with redis_faults(platform.live), platform.live.shared.pipeline(transaction=False) as pipe:
        for interval in mine.ratings:
            pipe.hgetall(keys.analysis(symbol, interval))
        rows = await pipe.execute()
    return [_analysis(symbol, interval, row) for interval, row in zip(mine.ratings, rows, strict=True) if row]


def _analysis(symbol: str, interval: str, row: dict[str, str]) -> IntervalAnalysis:
    return IntervalAnalysis(
        symbol=symbol,
        interval=interval,
        closed_at=at(int(row["closed_ms"])),
        close=float(row["close"]),
        rating=_number(row["rating"]),
        label=row["label"],
        averages=_number(row["averages"]),
        oscillators=_number(row["oscillators"]),
        values=msgspec.json.decode(row["values"], type=dict[str, float | None]),
        votes=msgspec.json.decode(row["votes"], type=dict[str, int]),
    )


def _number(text: str) -> float | None:
    return float(text) if text else None


def interval_name(interval: str) -> str:
    """`5` is `5m`, `240` is `4h`; days and weeks keep their letter."""
    if not interval.isdigit():
        return interval
    minutes = int(interval)
    return f"{minutes // 60}h" if minutes % 60 == 0 else f"{minutes}m"


def rating_cell(rating: float | None) -> Cell:
    """`+0.42`, green above 0.1 and red below -0.1."""
    if rating is None:
        return NONE
    tone = Tone.GOOD if rating > 0.1 else Tone.BAD if rating < -0.1 else Tone.DIM
    return Cell(f"{rating:+.2f}", tone, short=f"{rating:+.1f}")


def overview_page(rows: list[SymbolRatings], zone: tzinfo) -> Page:
    """Symbols by timeframes."""
    intervals = sorted({name for row in rows for name in row.ratings}, key=lambda name: INTERVAL_MS.get(name, 0))
    strongest = sorted(rows, key=lambda row: -abs(row.rating or 0.0))[:_MOST_SHOWN]
    table = Table(
        (Column("symbol"), Column("all", right=True), *(Column(interval_name(name), right=True) for name in intervals)),
        [
            [
                Cell(row.symbol, mark=row.symbol.removesuffix("USDT")),
                rating_cell(row.rating),
                *(rating_cell(row.ratings.get(name)) for name in intervals),
            ]
            for row in strongest
        ],
        empty=_NOTHING,
        narrow=[(row.symbol.removesuffix("USDT"), f"{rating_cell(row.rating).text} {row.label}") for row in strongest],
    )
    blocks: list[Block] = [table]
    if len(rows) > len(strongest):
        blocks.append(Words(f"The {len(strongest)} strongest of {len(rows)} symbols.", Tone.DIM))
    if rows:
        newest = max(row.closed_at for row in rows)
        said = f"Ratings from -1 (sell) to 1 (buy); newest candle {moment(newest, zone).text} {zone_name(newest, zone)}"
        blocks.append(Words(said, Tone.DIM))
    return Page("Analysis", blocks, rows)


def symbol_page(rows: list[IntervalAnalysis], interval: str | None, zone: tzinfo) -> Page:
    """One symbol: a line per timeframe, and the values of one of them (60 minutes, else the shortest, unless named).

    Rejected when that interval is not analysed.
    """
    symbol = rows[0].symbol
    names = [row.interval for row in rows]
    if interval is not None and interval not in names:
        raise Rejected(f"Interval {interval} of {symbol} is not analysed. Analysed: {', '.join(names)}.")
    shown = interval or ("60" if "60" in names else names[0])
    table = Table(
        (
            Column("time"),
            Column("rating", right=True),
            Column("", phone=False),
            Column("averages", right=True, brief="avg"),
            Column("oscillators", right=True, brief="osc"),
            Column("closed", right=True, phone=False),
        ),
        [
            [
                Cell(interval_name(row.interval)),
                rating_cell(row.rating),
                Cell(row.label),
                rating_cell(row.averages),
                rating_cell(row.oscillators),
                moment(row.closed_at, zone),
            ]
            for row in rows
        ],
    )
    chosen = next(row for row in rows if row.interval == shown)
    values = Table(
        (Column("value"), Column("now", right=True), Column("vote", right=True)),
        [
            [
                Cell(name),
                NONE if value is None else Cell(f"{value:,.6g}"),
                _VOTES[chosen.votes[name]] if name in chosen.votes else Cell(""),
            ]
            for name, value in chosen.values.items()
        ],
        title=f"{interval_name(shown)}, close {chosen.close:,.8g}",
    )
    known = [row.rating for row in rows if row.rating is not None]
    overall = sum(known) / len(known) if known else None
    title = f"{symbol} {rating_cell(overall).text}"
    picture = Gauges(title, [interval_name(row.interval) for row in rows], [row.rating for row in rows])
    newest = max(row.closed_at for row in rows)
    note = Words(f"Times in {zone_name(newest, zone)}; votes: docs/analysis.md", Tone.DIM)
    return Page(f"Analysis {title}", [table, values, note], rows, picture)
