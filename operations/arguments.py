"""Parses the words after a command by its usage: `<bot> [symbol]`, `[bot] [n]`, `[bot] [period]`.

`<...>` is required, `[...]` optional. Words may come in any order; a period takes all that the others leave.
`Arguments.words` is their canonical form, which is what is shown, stored and put behind buttons.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from alpha.errors import Misconfigured, Rejected
from alpha.model.interval import INTERVAL_MS
from alpha.model.money import plain
from alpha.registry import Bot, Registry
from operations.storable import brief

_SYMBOL = re.compile(r"[A-Z0-9]{2,20}(-[A-Z0-9]{1,20})?")
#: Plain, or with thousands separators.
_NUMBER = re.compile(r"[0-9]{1,6}|[0-9]{1,3}(,[0-9]{3})+")
#: The id of a trade, or its number counted from the newest.
_TRADE = re.compile(r"[0-9a-f]{10}|[1-9][0-9]{0,2}")
#: A command of two words and its name: `/model promote x` is `/model_promote x`.
_TWO_WORDS = re.compile(r"/?model(?P<at>@\S+)?\s+(?P<verb>promote|retire)(?=\s|$)", re.IGNORECASE)
#: A comma apart from the thousands is somebody's decimal point: 96000,5 is not 960005.
_PRICE = re.compile(r"([0-9]{1,9}|[0-9]{1,3}(,[0-9]{3}){1,2})(\.[0-9]{1,10})?")
_PERCENT = re.compile("[1-9][0-9]?|100")
#: As Bybit makes them.
_ORDER = re.compile(r"[A-Za-z0-9-]{4,60}")
_PERIOD = re.compile(r"\d|today|yesterday|week|month|year|all|ever")


@dataclass(frozen=True, slots=True)
class Arguments:
    """The parsed arguments of a command. Omitted ones are None."""

    bot: Bot | None = None
    symbol: str | None = None
    n: int | None = None
    trade: str | None = None
    price: Decimal | None = None
    percent: int | None = None
    order: str | None = None
    period: str | None = None
    rest: str | None = None
    interval: str | None = None
    #: The word that addresses the bot: its container, or its id in a shared one.
    word: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """The words in canonical form: the bot by one word, however it was named."""
        said = (
            None if self.bot is None else self.word or self.bot.container,
            self.symbol,
            None if self.n is None else str(self.n),
            self.trade,
            None if self.price is None else plain(self.price),
            None if self.percent is None else str(self.percent),
            self.order,
            self.period,
            self.interval,
            self.rest,
        )
        return tuple(word for part in said if part is not None for word in part.split())


def one_word(text: str) -> str:
    """A message with a command of two words in its one-word form; any other text as it is."""
    match = _TWO_WORDS.match(text)
    if match is None or not text.startswith("/"):
        return text
    return f"/model_{match['verb'].lower()}{match['at'] or ''}{text[match.end() :]}"


def read_words(registry: Registry, command: str, usage: str, example: str, words: list[str]) -> Arguments:
    """Parse `words`; Rejected, in one line with an example, if they do not fit the usage."""
    left = [word.strip() for word in words if word.strip()]
    found: dict[str, Any] = {}
    for name, optional in ((part.strip("<>[]"), part.startswith("[")) for part in usage.split()):
        if not left:
            if optional:
                continue
            raise Rejected(f"/{command} needs {_said(name, registry)}. Example: {example}")
        taken = _take(name, left, registry)
        if taken is not None:
            found[name], left = taken
        elif not optional:
            raise Rejected(f"{brief(left[0])} is not {_said(name, registry)}. Example: {example}")
    if left:
        names = [part.strip("<>[]") for part in usage.split()]
        if "bot" in names and "bot" not in found:
            raise Rejected(f"There is no bot {brief(left[0])}. Bots: {_bots(registry)}. Example: {example}")
        wanted = [_said(name, registry) for name in names if name not in found]
        if wanted:
            raise Rejected(f"{brief(left[0])} is not {' or '.join(wanted)}. Example: {example}")
        raise Rejected(f"/{command} does not understand {brief(left[0])}. Example: {example}")
    if found.get("bot") is not None:
        found["word"] = registry.word_of(found["bot"])
    return Arguments(**found)


def _take(name: str, left: list[str], registry: Registry) -> tuple[Any, list[str]] | None:
    """Return the value of this part of the usage and the remaining words; None if no word fits."""
    if name in ("period", "rest"):
        text = " ".join(left)
        fits = name == "rest" or (len(text) <= 60 and _PERIOD.search(text.lower()))
        return (text.lower() if name == "period" else text, []) if fits else None
    for place, word in enumerate(left):
        value = _read(name, word, registry)
        if value is not None:
            return value, left[:place] + left[place + 1 :]
    return None


def _read(name: str, word: str, registry: Registry) -> Bot | Decimal | str | int | None:
    if name == "bot":
        try:
            return registry.find(word)
        except Misconfigured:
            return None
    if name == "price":
        price = Decimal(word.replace(",", "")) if _PRICE.fullmatch(word) else None
        return price or None
    if name == "percent":
        share = word.removesuffix("%")
        return int(share) if _PERCENT.fullmatch(share) else None
    if name == "order":
        return word if _ORDER.fullmatch(word) else None
    if name == "trade":
        return word.lower() if _TRADE.fullmatch(word.lower()) else None
    if name == "interval":
        return interval_of(word)
    if name == "symbol":
        symbol = word.upper()
        if not _SYMBOL.fullmatch(symbol):
            return None
        return symbol if symbol.endswith(("USDT", "USDC", "USD")) or "-" in symbol else f"{symbol}USDT"
    return int(word.replace(",", "")) if _NUMBER.fullmatch(word) and len(word) <= 9 else None


def interval_of(word: str) -> str | None:
    """A candle interval in Bybit's notation, from `60`, `60m`, `1h`, `D` or `1d`; None when it is none."""
    match = re.fullmatch(r"(\d{1,4})?([mhdw])?", word.strip().lower())
    if match is None or not word.strip():
        return None
    number, unit = match[1] or "1", match[2] or "m"
    if unit in "dw":
        return unit.upper() if number == "1" else None
    if match[1] is None:
        return None
    minutes = str(int(number) * (60 if unit == "h" else 1))
    return minutes if minutes in INTERVAL_MS else {"1440": "D", "10080": "W"}.get(minutes)


def _said(name: str, registry: Registry) -> str:
    return {
        "bot": f"a bot ({_bots(registry)})",
        "symbol": "a symbol such as BTCUSDT",
        "n": "a number",
        "price": "a price such as 96000.5",
        "percent": "a share in per cent, 1 to 100",
        "order": "the id of an order (see /orders)",
        "trade": "the id of a trade (see /trades), or 1 for the last one",
        "interval": "an interval such as 60, 4h or D",
        "period": "a period such as 7d",
    }.get(name, name)


def _bots(registry: Registry) -> str:
    return registry.choices
