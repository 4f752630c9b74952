"""Sums per settle coin: USDT and USDC are never added. An account that trades one coin only looks as if there were no other."""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Protocol, TypeVar

from alpha.model.coin import USDC, USDT
from alpha.model.money import ZERO
from operations.formatting import NONE, usdt
from operations.page import Cell, Tone


class InCoin(Protocol):
    """A row whose amounts are in one settle coin."""

    @property
    def coin(self) -> str:
        """The settle coin."""


R = TypeVar("R", bound=InCoin)
_FIRST = (USDT, USDC)
Amounts = Mapping[str, Decimal]


def coins_of(rows: Iterable[InCoin]) -> list[str]:
    """The coins of these rows, USDT first; USDT alone when there are none."""
    found = {row.coin for row in rows}
    return [coin for coin in _FIRST if coin in found] + sorted(found - set(_FIRST)) or [USDT]


def of_coin(rows: Iterable[R], coin: str) -> list[R]:
    """The rows of one coin."""
    return [row for row in rows if row.coin == coin]


def sums(rows: Iterable[R], value: Callable[[R], Decimal | None]) -> dict[str, Decimal]:
    """The sum of a value per coin; rows without it count nothing."""
    found = dict.fromkeys(coins_of(kept := list(rows)), ZERO)
    for row in kept:
        found[row.coin] += value(row) or ZERO
    return found


def together(parts: Iterable[Amounts | None]) -> dict[str, Decimal] | None:
    """The sum of several amounts per coin; None when one of them is unknown: a partial sum is not a total."""
    total: dict[str, Decimal] = {}
    for part in parts:
        if part is None:
            return None
        for coin, value in part.items():
            total[coin] = total.get(coin, ZERO) + value
    return total


def amounts(values: Amounts | None, *, signed: bool = True) -> Cell:
    """Amounts side by side: `+1.50`, with another coin `+1.50, -2.00 USDC`."""
    if values is None:
        return NONE
    shown = [(coin, usdt(value, signed=signed)) for coin, value in _kept(values).items()]
    if len(shown) == 1 and shown[0][0] == USDT:
        return shown[0][1]
    tones = {cell.tone for _, cell in shown} - {Tone.PLAIN}
    text = ", ".join(cell.text if coin == USDT else f"{cell.text} {coin}" for coin, cell in shown)
    short = ", ".join(
        cell.short or cell.text if coin == USDT else f"{cell.short or cell.text} {coin}" for coin, cell in shown
    )
    return Cell(text, tones.pop() if len(tones) == 1 else Tone.PLAIN, short=short)


def said(values: Amounts, *, signed: bool = True) -> str:
    """Amounts with their coins: `+1.50 USDT, -2.00 USDC`."""
    return ", ".join(f"{usdt(value, signed=signed).text} {coin}" for coin, value in _kept(values).items())


def named(name: str, coin: str) -> str:
    """A name, with the coin when it is not USDT: `shortseller USDC`."""
    return name if coin == USDT else f"{name} {coin}"


def units(coins: Iterable[str]) -> str:
    """What amounts of these coins are in: `USDT`, or `USDT and USDC`."""
    return " and ".join(coins) or USDT


def _kept(values: Amounts) -> dict[str, Decimal]:
    order = [coin for coin in _FIRST if coin in values] + sorted(set(values) - set(_FIRST))
    return {coin: values[coin] for coin in order} or {USDT: ZERO}
