"""Shows an outcome on the terminal and writes it down."""

import csv
import json
from pathlib import Path

from rich.console import Console

from alpha.errors import Misconfigured
from alpha.model.money import plain
from alpha.model.timestamp import at
from backtester.command import Outcome
from backtester.page import render
from backtester.record import write_record
from backtester.result import Trade
from backtester.terminal import show

PARQUET = "trades.parquet, equity.parquet, orders.parquet"
TRADE_COLUMNS = (
    "symbol", "direction", "size", "entry_time", "entry_price", "exit_time", "exit_price", "reason",
    "gross", "fees", "funding", "net", "entry_why", "exit_why",
)  # fmt: skip


def report(outcome: Outcome, folder: Path | None) -> None:
    """Print the report; with a folder, also write the page, the tables and result.json into it."""
    if folder is not None:
        _write(outcome, folder)
    console = Console()
    show(console, outcome.result, outcome.description, outcome.data)
    if folder is not None:
        console.print(f"Written: {folder / 'report.html'}, result.json, trades.csv, settings.json, {PARQUET}")


def _write(outcome: Outcome, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.html").write_text(render(outcome), encoding="utf-8")
        _write_trades(folder / "trades.csv", outcome.result.trades)
        write_record(outcome, folder)
        (folder / "settings.json").write_text(json.dumps(settings_of(outcome), indent=2) + "\n", encoding="utf-8")
    except OSError as fault:
        raise Misconfigured(f"The report cannot be written to {folder}: {fault.strerror or fault}.") from None


def settings_of(outcome: Outcome) -> dict[str, object]:
    """What produced the outcome, for machines."""
    description = outcome.description
    return {
        "strategy": description.strategy,
        "parameters": dict(description.parameters),
        "changed": list(description.changed),
        **{name.lower().replace(" ", "_"): value for name, value in description.rows()},
    }


def _write_trades(path: Path, trades: list[Trade]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(TRADE_COLUMNS)
        for trade in trades:
            amounts = (trade.gross, trade.fees, trade.funding, trade.net)
            writer.writerow(
                (
                    trade.symbol,
                    trade.direction.value,
                    plain(trade.size),
                    at(trade.entry_ms).isoformat(),
                    plain(trade.entry_price),
                    at(trade.exit_ms).isoformat(),
                    plain(trade.exit_price),
                    trade.reason.value,
                    *(plain(amount) for amount in amounts),
                    trade.entry_why,
                    trade.exit_why,
                )
            )
