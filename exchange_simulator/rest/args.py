"""Request parameters: one table per endpoint, checked before the endpoint runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from exchange_simulator.engine.model import Refused

LARGEST = 10**15  # upper bound of integer parameters; timestamps are far below
MOST_DIGITS = 18  # before and after the decimal point of any other number
Kind = Literal["text", "int", "number", "flag", "list"]


@dataclass(frozen=True, slots=True)
class Param:
    """One documented parameter. `low` and `high` bound whole numbers."""

    name: str
    kind: Kind = "text"
    required: bool = False
    choices: tuple[str, ...] = ()
    low: int | None = None
    high: int | None = None
    default: Any = None


def digits(text: str) -> int | None:
    """Parses an integer in plain digits; None for anything else or an implausibly large value."""
    if not text.isascii() or not text.isdigit() or len(text) > MOST_DIGITS:
        return None
    return int(text)


class Args:
    """A request's checked parameters. Those not sent and without a default read as empty."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def has(self, name: str) -> bool:
        return self._values.get(name) is not None

    def text(self, name: str) -> str:
        value = self._values.get(name)
        return "" if value is None else str(value)

    def integer(self, name: str, default: int = 0) -> int:
        value = self._values.get(name)
        return default if value is None else int(value)

    def maybe_integer(self, name: str) -> int | None:
        value = self._values.get(name)
        return None if value is None else int(value)

    def number(self, name: str) -> Decimal | None:
        value = self._values.get(name)
        return value if isinstance(value, Decimal) else None

    def flag(self, name: str) -> bool:
        return bool(self._values.get(name))

    def items(self, name: str) -> list[Any]:
        value = self._values.get(name)
        return list(value) if isinstance(value, list) else []


def check(params: Sequence[Param], sent: Mapping[str, Any]) -> Args:
    """Converts the parameters to their types. Raises `Refused` 10001 naming the first missing or invalid one."""
    values: dict[str, Any] = {}
    for param in params:
        raw = sent.get(param.name)
        if raw is None or raw == "":
            if param.required:
                raise Refused(10001, f"params error: The {param.name} is required")
            values[param.name] = param.default
            continue
        values[param.name] = _typed(param, raw)
    return Args(values)


def _typed(param: Param, raw: Any) -> Any:
    if param.kind == "text":
        if not isinstance(raw, str):
            raise Refused(10001, f"params error: {param.name} must be a string")
        if param.choices and raw not in param.choices:
            raise Refused(10001, f"params error: {param.name} invalid")
        return raw
    if param.kind == "int":
        return _whole(param, raw)
    if param.kind == "number":
        return _number(param, raw)
    if param.kind == "flag":
        if isinstance(raw, bool):
            return raw
        if raw in ("true", "false"):
            return raw == "true"
        raise Refused(10001, f"params error: {param.name} must be a boolean")
    if not isinstance(raw, list):
        raise Refused(10001, f"params error: {param.name} must be a list")
    return raw


def _whole(param: Param, raw: Any) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int | str):
        raise Refused(10001, f"params error: {param.name} must be an integer")
    value = raw if isinstance(raw, int) else digits(raw.removeprefix("-"))
    if value is None:
        raise Refused(10001, f"params error: {param.name} must be an integer")
    if isinstance(raw, str) and raw.startswith("-"):
        value = -value
    if abs(value) > LARGEST:
        raise Refused(10001, f"params error: {param.name} invalid")
    if (param.low is not None and value < param.low) or (param.high is not None and value > param.high):
        raise Refused(10001, f"params error: {param.name} must be between {param.low} and {param.high}")
    if param.choices and str(value) not in param.choices:
        raise Refused(10001, f"params error: {param.name} invalid")
    return value


def _number(param: Param, raw: Any) -> Decimal:
    if not isinstance(raw, str):
        raise Refused(10001, f"params error: {param.name} must be a string")
    try:
        value = Decimal(raw)
    except InvalidOperation:
        value = Decimal("NaN")
    if len(raw) > 2 * MOST_DIGITS or not value.is_finite() or not _sensible(value):
        raise Refused(10001, f"params error: {param.name} invalid")
    return value


def _sensible(value: Decimal) -> bool:
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -MOST_DIGITS and value.adjusted() <= MOST_DIGITS


def limit(default: int, most: int, least: int = 1) -> Param:
    """The usual `limit` parameter."""
    return Param("limit", "int", low=least, high=most, default=default)


CATEGORY = Param("category", required=True, choices=("linear", "inverse", "spot", "option"))
SYMBOL = Param("symbol", required=True)
ANY_SYMBOL = Param("symbol")
CURSOR = Param("cursor")
WINDOW = (Param("startTime", "int", low=0), Param("endTime", "int", low=0))
