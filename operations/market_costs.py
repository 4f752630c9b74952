"""What fills cost against the quotes around them, as the tick recorder measured it, beside what a back-test assumes."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from alpha.model.assumed_slippage import ASSUMED_SLIPPAGE_BPS
from alpha.postgres.sql import queries
from alpha.registry import Bot
from operations.accounts import account_ids
from operations.context import Operations
from operations.formatting import NONE, bps, count, usdt
from operations.page import Block, Cell, Column, Table, Tone, Words
from operations.pages import short
from operations.periods import Period

SQL = queries(__file__)
#: The sizes that are told apart, in USDT.
SIZE_NAMES = ("below 100", "100 to 1,000", "1,000 to 10,000", "above 10,000")


@dataclass(frozen=True, slots=True)
class MarketCost:
    """Fills against the quotes around them, weighted by value, in basis points of the mid price.

    `slippage` is the fill against the mid at its arrival, `delay` how far the market moved against us from the decision to
    then; above zero is a cost. `after` is how far it moved in our favour 1, 5 and 30 s later.
    """

    measured: int
    value_usdt: Decimal
    cost_usdt: Decimal
    spread_bps: Decimal
    slippage_bps: Decimal
    delay_bps: Decimal | None
    after_bps: tuple[Decimal | None, Decimal | None, Decimal | None]
    bot: str = ""
    symbol: str = ""
    #: The kind of order, the hour of the day (UTC), or the size.
    name: str = ""


@dataclass(frozen=True, slots=True)
class MarketCosts:
    """The same of a period: by bot, symbol and kind of order, by hour, by size, and of all fills that took liquidity."""

    rows: list[MarketCost]
    hours: list[MarketCost]
    sizes: list[MarketCost]
    takers: MarketCost | None
    assumed_bps: Decimal = ASSUMED_SLIPPAGE_BPS

    @property
    def worse_than_assumed(self) -> bool:
        """True if fills that took liquidity cost more than a back-test assumes."""
        return self.takers is not None and self.takers.slippage_bps > self.assumed_bps


async def market_costs(platform: Operations, bot: Bot | None, period: Period) -> MarketCosts:
    """What the fills of a period cost against the quotes around them, as far as the tick recorder has measured them."""
    rows = await platform.history.rows(SQL["market_costs"], await account_ids(platform, bot), period.start, period.end)
    takers = [_market_cost(row, "") for row in rows if row["is_maker"] is False]
    sizes = [_market_cost(row, row["size"]) for row in rows if row["size"]]
    hours = [_market_cost(row, row["hour"]) for row in rows if row["hour"]]
    return MarketCosts(
        [_market_cost(row, row["kind"]) for row in rows if row["symbol"]],
        sorted(hours, key=lambda one: one.name),
        sorted(sizes, key=lambda one: SIZE_NAMES.index(one.name)),
        takers[0] if takers else None,
    )


def _market_cost(row: Any, name: str) -> MarketCost:
    return MarketCost(
        measured=row["measured"],
        value_usdt=row["value"],
        cost_usdt=row["cost"],
        spread_bps=row["spread_bps"],
        slippage_bps=row["slippage_bps"],
        delay_bps=row["delay_bps"],
        after_bps=(row["after_1s_bps"], row["after_5s_bps"], row["after_30s_bps"]),
        bot=row["bot_id"] or "",
        symbol=row["symbol"] or "",
        name=name,
    )


def market_blocks(market: MarketCosts) -> list[Block]:
    """The fills against the quotes around them, with the back-test's assumption beside it."""
    assumed = f"{market.assumed_bps.normalize():f}"
    if not market.rows:
        return [
            Words(
                "No fill of this period was measured against the quotes around it; the tick recorder does that "
                f"(docs/ticks.md). The back-test assumes {assumed} bps for a market order.",
                Tone.DIM,
            )
        ]
    first = (Column("bot", phone=False), Column("symbol"), Column("order"))
    cells = [
        [Cell(short(one.bot)), Cell(one.symbol, mark=one.symbol.removesuffix("USDT")), Cell(one.name)]
        for one in market.rows
    ]
    blocks: list[Block] = [_market_table("Against the quotes around the fills", first, cells, market.rows)]
    for title, column, groups in (("hour, UTC", "hour", market.hours), ("size, USDT", "size", market.sizes)):
        names = [[Cell(one.name)] for one in groups]
        blocks.append(_market_table(f"Against the quotes, by {title}", (Column(column),), names, groups))
    blocks.append(
        Words(
            "Basis points of the mid price, weighted by value: the spread at arrival, the fill against the mid, the market's move "
            "from the decision to the fill (both costs above zero), and its move in our favour after 1, 5 and 30 s.",
            Tone.DIM,
        )
    )
    if market.takers is None:
        return blocks
    paid = bps(market.takers.slippage_bps).text
    said = f"Fills that took liquidity cost {paid} bps of the mid price; the back-test assumes {assumed} bps"
    if market.worse_than_assumed:
        blocks.append(
            Words(f"{said}, too little: repeat it with --slippage-bps {market.takers.slippage_bps:.1f}.", Tone.WARN)
        )
    else:
        blocks.append(Words(f"{said}.", Tone.DIM))
    return blocks


def _market_table(title: str, first: tuple[Column, ...], names: list[list[Cell]], groups: list[MarketCost]) -> Table:
    columns = (
        *first,
        Column("n", right=True),
        Column("spread", right=True),
        Column("bps", right=True),
        Column("delay", right=True, phone=False),
        Column("1 s", right=True, phone=False),
        Column("5 s", right=True, phone=False),
        Column("30 s", right=True),
        Column("cost", right=True, phone=False),
    )
    cells = [
        [
            *name,
            count(one.measured),
            Cell(f"{one.spread_bps:.2f}"),
            bps(one.slippage_bps),
            NONE if one.delay_bps is None else bps(one.delay_bps),
            *(NONE if after is None else bps(after, good=1) for after in one.after_bps),
            usdt(-one.cost_usdt),
        ]
        for name, one in zip(names, groups, strict=True)
    ]
    return Table(columns, cells, title=title)
