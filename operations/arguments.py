"""The words after a command, read by its usage: `<bot> [symbol]`, `[bot] [n]`, `[bot] [period]`.

`<...>` must be there, `[...]` may be. A period is the last and takes all the words that are left.
"""

import re
from dataclasses import dataclass
from typing import Any

from alpha.errors import Misconfigured, Rejected
from alpha.registry import Bot, Registry

_SYMBOL = re.compile(r"[A-Z0-9]{2,20}(-[A-Z0-9]+)?")


@dataclass(frozen=True, slots=True)
class Arguments:
    """What the words of a command mean. What was not said is None."""

    bot: Bot | None = None
    symbol: str | None = None
    n: int | None = None
    period: str | None = None
    rest: str | None = None


def read_words(registry: Registry, command: str, usage: str, example: str, words: list[str]) -> Arguments:
    """The arguments in `words`; Rejected, in one line with an example, when they do not fit the usage."""
    left = [word.strip() for word in words if word.strip()]
    found: dict[str, Any] = {}
    for name, optional in ((part.strip("<>[]"), part.startswith("[")) for part in usage.split()):
        if not left:
            if optional:
                continue
            raise Rejected(f"/{command} needs {_said(name, registry)}. Example: {example}")
        value = _read(name, left, registry)
        if value is not None:
            found[name] = value
            del left[: len(left) if name in ("period", "rest") else 1]
        elif not optional:
            raise Rejected(f"{left[0]!r} is not {_said(name, registry)}. Example: {example}")
    if left:
        names = [part.strip("<>[]") for part in usage.split()]
        if "bot" in names and "bot" not in found:
            raise Rejected(f"There is no bot {left[0]!r}. Bots: {_bots(registry)}. Example: {example}")
        raise Rejected(f"/{command} does not understand {left[0]!r}. Example: {example}")
    return Arguments(**found)


def _read(name: str, left: list[str], registry: Registry) -> Bot | str | int | None:
    word = left[0]
    if name == "bot":
        try:
            return registry.find(word)
        except Misconfigured:
            return None
    if name == "symbol":
        symbol = word.upper()
        if not _SYMBOL.fullmatch(symbol):
            return None
        return symbol if symbol.endswith(("USDT", "USDC", "USD")) or "-" in symbol else f"{symbol}USDT"
    if name == "n":
        return int(word) if re.fullmatch(r"[0-9]{1,6}", word) else None
    if name == "period":
        return (
            " ".join(left)
            if re.search(r"\d|today|yesterday|week|month|year|all|ever", " ".join(left).lower())
            else None
        )
    return " ".join(left)


def _said(name: str, registry: Registry) -> str:
    return {
        "bot": f"a bot ({_bots(registry)})",
        "symbol": "a symbol such as BTCUSDT",
        "n": "a number",
        "period": "a period such as 7d",
    }.get(name, name)


def _bots(registry: Registry) -> str:
    return ", ".join(bot.container for bot in registry.bots)
