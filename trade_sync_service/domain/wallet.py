"""Compares transfers with the ledger, and each day's balance change with gross - fees + funding."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from alpha.bybit.models import TransactionLogRow
from alpha.bybit.reads import LINEAR
from alpha.model.coin import USDT, settle_coin
from alpha.model.timestamp import at
from trade_sync_service.account import TRADING_TYPES
from trade_sync_service.domain.difference import TOLERANCE_USDT, Difference, Kind, moment, side
from trade_sync_service.domain.fills import CoinDay
from trade_sync_service.domain.trade_rows import Trade
from trade_sync_service.settings import DAY_MS

ZERO = Decimal(0)
TransferKey = tuple[str, str, str]


class Transfer(NamedTuple):
    """Money that moved without a trade; a positive `amount` is a deposit."""

    log_id: str
    trade_id: str
    type: str
    currency: str
    amount: Decimal
    time_ms: int

    @property
    def key(self) -> TransferKey:
        """The identity of the transfer."""
        return self.log_id, self.trade_id, self.type


def transfers_of(rows: Iterable[TransactionLogRow]) -> list[Transfer]:
    """The ledger rows that are not part of trading."""
    return [
        Transfer(row.id, row.trade_id, row.type, row.currency, row.change, row.time_ms)
        for row in rows
        if row.type not in TRADING_TYPES
    ]


def trading_change(rows: Iterable[TransactionLogRow]) -> dict[CoinDay, Decimal]:
    """The balance change by trading, per coin and UTC day (day number since 1970)."""
    return _per_day(row for row in rows if row.type in TRADING_TYPES)


def change_elsewhere(rows: Iterable[TransactionLogRow]) -> dict[CoinDay, Decimal]:
    """The part of `trading_change` outside linear contracts: spot, options and the like, which no bot trades."""
    return _per_day(row for row in rows if row.type in TRADING_TYPES and row.category not in ("", LINEAR))


def _per_day(rows: Iterable[TransactionLogRow]) -> dict[CoinDay, Decimal]:
    days: dict[CoinDay, Decimal] = defaultdict(lambda: ZERO)
    for row in rows:
        days[row.currency, row.time_ms // DAY_MS] += row.change
    return days


def compare_transfers(ours: Mapping[TransferKey, Transfer], theirs: Iterable[Transfer]) -> list[Difference]:
    """Check that each transfer in the ledger is recorded once, with equal figures."""
    found = []
    seen: set[TransferKey] = set()
    for transfer in theirs:
        if transfer.key in seen:
            continue
        seen.add(transfer.key)
        have = ours.get(transfer.key)
        if have is None:
            found.append(_difference(Kind.TRANSFER_MISSING, None, transfer))
        elif have != transfer:
            found.append(_difference(Kind.TRANSFER_DIFFERS, have, transfer))
    found += [_difference(Kind.TRANSFER_EXTRA, have, None) for key, have in ours.items() if key not in seen]
    return found


def compare_wallet(
    changed: Mapping[CoinDay, Decimal],
    closed: Mapping[Trade, int],
    fees: Mapping[CoinDay, Decimal],
    funding: Mapping[CoinDay, Decimal],
    elsewhere: Mapping[CoinDay, Decimal],
    start_ms: int,
    end_ms: int,
) -> list[Difference]:
    """Check that each day's trading change of each coin equals closed gross - fees paid + funding received in that coin.

    A difference equal to the change by manual trades outside linear contracts (`elsewhere`) is explained by it.
    """
    gross: dict[CoinDay, Decimal] = defaultdict(lambda: ZERO)
    for trade, at_ms in closed.items():
        if start_ms <= at_ms < end_ms:
            gross[settle_coin(trade.symbol), at_ms // DAY_MS] += trade.gross
    found = []
    for key in sorted({*changed, *gross, *fees, *funding}):
        coin, day = key
        ours = gross[key] - fees.get(key, ZERO) + funding.get(key, ZERO)
        theirs = changed.get(key, ZERO)
        if abs(ours - theirs) > TOLERANCE_USDT:
            found.append(
                Difference(
                    Kind.WALLET,
                    f"{at(day * DAY_MS):%Y-%m-%d}" + ("" if coin == USDT else f":{coin}"),
                    None,
                    max(day * DAY_MS, start_ms),
                    side(
                        coin=coin,
                        gross=gross[key],
                        fees=fees.get(key, ZERO),
                        funding=funding.get(key, ZERO),
                        change=ours,
                    ),
                    side(change=theirs),
                    _why(theirs - ours, elsewhere.get(key, ZERO)),
                )
            )
    return found


def _why(difference: Decimal, elsewhere: Decimal) -> str | None:
    if elsewhere and abs(difference - elsewhere) <= TOLERANCE_USDT:
        return (
            "Manual trades outside linear contracts (spot, options) changed the balance; these books hold none of them."
        )
    return None


def _difference(kind: Kind, ours: Transfer | None, theirs: Transfer | None) -> Difference:
    one = theirs or ours
    if one is None:
        raise ValueError("a difference has at least one side")
    return Difference(kind, ":".join(one.key), None, one.time_ms, ours and _shown(ours), theirs and _shown(theirs))


def _shown(transfer: Transfer) -> dict[str, str | None]:
    return side(type=transfer.type, currency=transfer.currency, amount=transfer.amount, at=moment(transfer.time_ms))
