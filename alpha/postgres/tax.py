"""A year of an account as programs for taxes read it, and its reconciliation statement.

Every movement of money is one event: Bybit's own closed trades (gross), each fill's fee, each funding payment, each transfer. Their
sum is the change of the wallet, which the trade sync reconciles with Bybit day by day. Formats:

- generic: one signed amount per row;
- koinly: "Universal" template (support.koinly.io, "How to create a custom CSV file with your data"): a gain is received, a loss is
  sent, both with the label of realised P&L; times in UTC;
- cointracking: the columns and types of its CSV import ("Derivatives / Futures Profit" and "Loss", "Margin Fee", "Other Fee").
"""

import asyncio
import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from alpha.errors import Misconfigured, Rejected
from alpha.model.coin import settle_coin
from alpha.model.money import ZERO, plain
from alpha.postgres.archive import archived
from alpha.postgres.database import Connection
from alpha.postgres.sql import queries

SQL = queries(__file__)

FORMATS = ("generic", "koinly", "cointracking")


@dataclass(frozen=True, slots=True)
class Event:
    """One movement of money: a positive `amount` came in. `kind` is pnl, fee, funding or transfer."""

    time: datetime
    kind: str
    symbol: str
    amount: Decimal
    currency: str
    id: str
    detail: str


@dataclass(frozen=True, slots=True)
class Statement:
    """A year in USDT: opening + deposits - withdrawals + P&L = expected; `closing` and `opening` follow from what Bybit stated.

    They are None when Bybit has stated no balance. `independent` is False when both come from the same statement of Bybit:
    then their difference is zero by construction and proves nothing.
    """

    opening: Decimal | None
    deposits: Decimal
    withdrawals: Decimal
    gross: Decimal
    fees: Decimal
    funding: Decimal
    other: Decimal
    closing: Decimal | None
    independent: bool
    sources: tuple[str, ...]

    @property
    def expected(self) -> Decimal | None:
        """The closing balance that the year's movements lead to."""
        if self.opening is None:
            return None
        return self.opening + self.deposits - self.withdrawals + self.gross - self.fees + self.funding + self.other

    @property
    def difference(self) -> Decimal | None:
        """Closing less expected; zero when the year adds up."""
        expected = self.expected
        return None if expected is None or self.closing is None else self.closing - expected

    def rows(self) -> list[tuple[str, str]]:
        """The lines of the statement."""
        lines: list[tuple[str, Decimal | None]] = [
            ("opening balance", self.opening),
            ("deposits", self.deposits),
            ("withdrawals", -self.withdrawals),
            ("profit and loss before costs", self.gross),
            ("fees", -self.fees),
            ("funding", self.funding),
            ("bonuses, interest and other", self.other),
            ("expected closing balance", self.expected),
            ("closing balance", self.closing),
            ("difference", self.difference),
        ]
        found = [(name, "not known" if value is None else plain(value)) for name, value in lines]
        return [*found, ("balances stated by Bybit", "; ".join(self.sources) or "none"),
                ("independent", "yes" if self.independent else "no: both balances follow from one statement")]  # fmt: skip


async def export_tax(
    connection: Connection, bot_id: str, year: int, zone: ZoneInfo, folder: Path, style: str
) -> dict[Path, int]:
    """Write events and statement of each of the bot's accounts into `folder`; returns the number of rows per file.

    Raises Rejected for an unknown bot, Misconfigured when the folder cannot be written.
    """
    accounts = await connection.fetch(SQL["accounts"], bot_id)
    if not accounts:
        known = await connection.fetch(SQL["bots"])
        names = ", ".join(row["bot_id"] for row in known) or "none"
        raise Rejected(f"There is no account of a bot {bot_id!r} in the record. There are accounts of: {names}.")
    start, end = datetime(year, 1, 1, tzinfo=zone), datetime(year + 1, 1, 1, tzinfo=zone)
    written: dict[Path, int] = {}
    try:
        await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        for account in accounts:
            name = f"{account['environment']}-{account['user_id']}"
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                events = await _events(connection, account["account_id"], start, end)
                statement = await _statement(connection, account["account_id"], start, end, events)
            path = folder / f"{style}-{name}.csv"
            written[path] = _write(path, _HEADS[style], [_ROWS[style](event, zone) for event in events])
            path = folder / f"statement-{name}.csv"
            written[path] = _write(path, ("line", "USDT"), statement.rows())
    except OSError as fault:
        raise Misconfigured(
            f"{folder} cannot be written: {fault.strerror}. Choose another folder with --output."
        ) from None
    return written


async def _events(connection: Connection, account: int, start: datetime, end: datetime) -> list[Event]:
    events = [Event(**dict(row)) for row in await connection.fetch(SQL["events"], account, start, end)]
    for row in await archived(connection, account, start, end):
        if row["category"] == "linear" and row["fee"]:
            kind = "funding" if row["exec_type"] == "Funding" else "fee"
            currency = row["fee_currency"] or settle_coin(row["symbol"])
            event = Event(
                row["exec_time"], kind, row["symbol"], -row["fee"], currency, row["exec_id"], row["exec_type"]
            )
            events.append(event)
    return sorted(events, key=lambda event: (event.time, event.kind, event.id))


async def _statement(
    connection: Connection, account: int, start: datetime, end: datetime, events: Sequence[Event]
) -> Statement:
    opening, opened = await _balance(connection, account, start)
    closing, closed = await _balance(connection, account, end)
    usdt = [event for event in events if event.currency == "USDT"]
    moved = [event for event in usdt if event.kind == "transfer" and event.detail.startswith("TRANSFER")]
    other = [event for event in usdt if event.kind == "transfer" and not event.detail.startswith("TRANSFER")]
    return Statement(
        opening=opening,
        deposits=_sum(event.amount for event in moved if event.amount > 0),
        withdrawals=-_sum(event.amount for event in moved if event.amount < 0),
        gross=_sum(event.amount for event in usdt if event.kind == "pnl"),
        fees=-_sum(event.amount for event in usdt if event.kind == "fee"),
        funding=_sum(event.amount for event in usdt if event.kind == "funding"),
        other=_sum(event.amount for event in other),
        closing=closing,
        independent=opened is not None and closed is not None and opened != closed,
        sources=tuple(dict.fromkeys(text for text in (opened, closed) if text is not None)),
    )


async def _balance(connection: Connection, account: int, at: datetime) -> tuple[Decimal | None, str | None]:
    """The balance at a time, from the nearest one that Bybit has stated and what moved in between; and which that was."""
    row = await connection.fetchrow(SQL["stated_balance"], account, at)
    if row is None:
        return None, None
    stated: datetime = row["time"]
    if stated < at:
        # what has the time of the statement itself is in the balance it states
        between = [event for event in await _events(connection, account, stated, at) if event.time != stated]
        sign = 1
    else:
        between, sign = await _events(connection, account, at, stated + timedelta(microseconds=1)), -1
    balance = row["balance"] + sign * _sum(event.amount for event in between if event.currency == "USDT")
    return balance, f"{plain(row['balance'])} at {stated.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC ({row['source']})"


def _sum(values: Iterable[Decimal]) -> Decimal:
    return sum(values, ZERO)


def _generic(event: Event, zone: ZoneInfo) -> list[str]:
    return [
        event.time.astimezone(zone).isoformat(timespec="milliseconds"),
        event.kind,
        plain(event.amount),
        event.currency,
        event.symbol,
        event.detail,
        event.id,
    ]


def _koinly(event: Event, _zone: ZoneInfo) -> list[str]:
    inward = event.amount >= 0
    label = {"pnl": "realized gain", "fee": "fee refund" if inward else "cost"}.get(event.kind, "")
    if event.kind == "funding":
        label = "realized gain" if inward else "margin fee"
    elif event.kind == "transfer" and not event.detail.startswith("TRANSFER"):
        label = "reward" if inward else "cost"
    amount = [plain(abs(event.amount)), event.currency]
    sides = ["", "", *amount] if inward else [*amount, "", ""]
    when = event.time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return [when, *sides, "", "", "", "", label, _described(event), event.id]


def _cointracking(event: Event, _zone: ZoneInfo) -> list[str]:
    inward = event.amount >= 0
    kinds = {
        "pnl": ("Derivatives / Futures Profit", "Derivatives / Futures Loss"),
        "funding": ("Derivatives / Futures Profit", "Margin Fee"),
        "fee": ("Other Income", "Other Fee"),
        "transfer": ("Deposit", "Withdrawal")
        if event.detail.startswith("TRANSFER")
        else ("Reward / Bonus", "Other Expense"),
    }
    kind = kinds[event.kind][0 if inward else 1]
    amount = [plain(abs(event.amount)), event.currency]
    sides = [*amount, "", ""] if inward else ["", "", *amount]
    when = event.time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return [kind, *sides, "", "", "Bybit", event.kind, f"{_described(event)} {event.id}", when]


def _described(event: Event) -> str:
    what = {"pnl": "closed", "fee": "trading fee", "funding": "funding", "transfer": event.detail}[event.kind]
    return f"{what} {event.symbol}".strip()


_ROWS = {"generic": _generic, "koinly": _koinly, "cointracking": _cointracking}
_HEADS: dict[str, Sequence[str]] = {
    "generic": ("time", "type", "amount", "currency", "symbol", "detail", "id"),
    "koinly": ("Date", "Sent Amount", "Sent Currency", "Received Amount", "Received Currency", "Fee Amount", "Fee Currency",
               "Net Worth Amount", "Net Worth Currency", "Label", "Description", "TxHash"),
    "cointracking": ("Type", "Buy Amount", "Buy Currency", "Sell Amount", "Sell Currency", "Fee", "Fee Currency", "Exchange",
                     "Trade-Group", "Comment", "Date"),
}  # fmt: skip


def _write(path: Path, head: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(rows)
    return len(rows)
