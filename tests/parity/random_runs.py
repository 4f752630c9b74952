"""The market of a random strategy, and its back-test."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from backtester.command import Request, carry_out
from backtester.result import Result
from tests.parity.instruments import with_instruments
from tests.parity.replay import CASH, generate
from tests.support.world import ROOT

SYMBOLS = ("ETHUSDT", "SOLUSDT", "XRPUSDT")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Fills by symbol in their order, the balance less what is open, and what is open."""

    fills: dict[str, list[tuple[str, Decimal, Decimal, Decimal, int]]]
    wallet: Decimal
    open: dict[str, Decimal]


def bots_file(folder: Path) -> Path:
    """The registry with the random strategy under ShortSeller's name."""
    path = folder / "bots.toml"
    text = (ROOT / "bots.toml").read_text()
    path.write_text(
        text.replace("strategies.shortseller.strategy:ShortSeller", "tests.parity.random_strategy:RandomStrategy")
    )
    return path


def market(folder: Path, seed: int) -> tuple[Path, datetime]:
    """Candles of four days; two are traded at most."""
    begin = datetime(2025, 1, 1, tzinfo=UTC)
    generate(folder / "made", SYMBOLS, "5", begin, begin + timedelta(days=3), seed=seed)
    return with_instruments(folder / "made", folder / "candles"), begin + timedelta(days=2)


def back(
    folder: Path, start: datetime, seed: int, bots: Path, *, bars: int, ticks: Path | None = None
) -> tuple[Outcome, Result]:
    """In the back-test."""
    outcome = carry_out(
        Request(
            strategy="shortseller",
            data=folder,
            from_text=start.isoformat(),
            to_text=(start + timedelta(minutes=5 * bars)).isoformat(),
            overrides=[f"seed={seed}", f"symbols={json.dumps(SYMBOLS)}"],
            symbols=None,
            cash=CASH,
            taker_fee="0.00055",
            slippage_bps="0",
            funding="0.0001",
            resume_days=None,
            bots=bots,
            ticks=ticks,
        )
    )
    result = outcome.result
    wallet = result.end_equity - sum((row.unrealised for row in result.open_at_end), Decimal(0))
    held = {row.symbol: row.size * row.direction.sign for row in result.open_at_end}
    fills = [(fill.symbol, fill.side, fill.qty, fill.price, fill.fee, fill.time_ms) for fill in result.fills]
    return Outcome(by_symbol(fills), wallet, held), result


def by_symbol(fills: Iterable[tuple[str, Any, Any, Any, Any, Any]]) -> dict[str, list[Any]]:
    """Fills by symbol, each in their order."""
    found: dict[str, list[Any]] = {}
    for symbol, *rest in fills:
        found.setdefault(symbol, []).append(tuple(rest))
    return found
