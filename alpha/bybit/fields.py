"""Reading single fields of a row from Bybit: text to Decimal, milliseconds to int, and what "" and "0" mean."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import NoReturn

from alpha.bybit.errors import UnreadableRow
from alpha.model.timestamp import ms_of

_ZERO = Decimal(0)
#: No amount, price or value of an exchange has more digits before or after the point; a longer one is damage.
_MOST_DIGITS = 40


class Fields:
    """One row, read field by field; every failure is an UnreadableRow that names row kind and field."""

    __slots__ = ("_get", "kind", "row")

    def __init__(self, kind: str, row: object) -> None:
        if not isinstance(row, Mapping):
            raise UnreadableRow(kind, "whole", "is not an object", row)
        self.kind = kind
        self.row = row
        self._get = row.get

    def fail(self, name: str, what: str) -> NoReturn:
        """Refuse the row because of the field `name`."""
        raise UnreadableRow(self.kind, name, what, self.row)

    def text(self, name: str) -> str:
        """A required text that is not empty."""
        value = self._get(name)
        if type(value) is not str or not value:
            self.fail(name, "is missing" if value is None or value == "" else f"is no text: {value!r}")
        return value

    def any_text(self, name: str) -> str:
        """A text; "" when it is absent."""
        value = self._get(name)
        if value is None:
            return ""
        if type(value) is not str:
            self.fail(name, f"is no text: {value!r}")
        return value

    def number(self, name: str) -> Decimal:
        """A required finite decimal, sent as text (an integer is accepted, a float never)."""
        value = self._get(name)
        if value is None or value == "":
            self.fail(name, "is missing")
        return self._decimal(name, value)

    def number_or_zero(self, name: str) -> Decimal:
        """A finite decimal; zero for an absent or empty one, where Bybit means "none" by it."""
        value = self._get(name)
        return _ZERO if value is None or value == "" else self._decimal(name, value)

    def number_or_none(self, name: str) -> Decimal | None:
        """A finite decimal; None for an absent or empty one."""
        value = self._get(name)
        return None if value is None or value == "" else self._decimal(name, value)

    def level_or_none(self, name: str) -> Decimal | None:
        """A price level or distance; None for "", "0" and "0.00", with which Bybit says "unset"."""
        value = self.number_or_none(name)
        return value if value else None

    def integer(self, name: str) -> int:
        """A required integer, sent as a number or as text."""
        value = self.integer_or_none(name)
        if value is None:
            self.fail(name, "is missing")
        return value

    def integer_or_none(self, name: str) -> int | None:
        """An integer, sent as a number or as text; None for an absent or empty one."""
        value = self._get(name)
        if type(value) is int:
            return value
        if value is None or value == "":
            return None
        if type(value) is str and len(value) <= _MOST_DIGITS:
            try:
                return int(value)
            except ValueError:
                self.fail(name, f"is no integer: {value!r:.80}")
        raise UnreadableRow(self.kind, name, f"is no integer: {value!r:.80}", self.row)

    def ms(self, name: str) -> int:
        """A required time in milliseconds since 1970 UTC; zero and below are no time."""
        value = self.ms_or_none(name)
        if value is None:
            self.fail(name, "is missing")
        return value

    def ms_or_none(self, name: str) -> int | None:
        """A time in milliseconds since 1970 UTC; None for absent, "" and "0". Far outside our age it is damage."""
        value = self.integer_or_none(name)
        if value is None or value == 0:
            return None
        if not 0 < value < 32_503_680_000_000:  # the year 3000
            self.fail(name, f"is no time in milliseconds: {value!r}")
        return value

    def ms_or_iso(self, name: str) -> int | None:
        """As `ms_or_none`, but the public stream writes some times as ISO 8601 text."""
        value = self._get(name)
        if type(value) is str and "T" in value:
            try:
                return ms_of(datetime.fromisoformat(value))
            except ValueError:
                self.fail(name, f"is no time: {value!r:.80}")
        return self.ms_or_none(name)

    def flag(self, name: str) -> bool:
        """A required boolean."""
        value = self._get(name)
        if type(value) is not bool:
            self.fail(name, "is missing" if value is None else f"is no boolean: {value!r}")
        return value

    def flag_or_false(self, name: str) -> bool:
        """A boolean; False when it is absent or empty."""
        value = self._get(name)
        return False if value is None or value == "" else self.flag(name)

    def child(self, name: str) -> "Fields":
        """A required nested object."""
        value = self._get(name)
        if not isinstance(value, Mapping):
            self.fail(name, "is missing" if value is None else "is no object")
        return Fields(f"{self.kind}.{name}", value)

    def rows(self, name: str) -> list[object]:
        """A required list."""
        value = self._get(name)
        if not isinstance(value, list):
            self.fail(name, "is missing" if value is None else "is no list")
        return value

    def raw(self, name: str) -> object:
        """The field as it came; None when absent."""
        return self._get(name)

    def _decimal(self, name: str, value: object) -> Decimal:
        if type(value) is not str:
            if type(value) is not int:
                self.fail(name, f"is no decimal text: {value!r:.80}")
            value = str(value)
        number = decimal_of(value)
        if number is None:
            self.fail(name, f"is no decimal number, or beyond every amount: {value!r:.80}")
        return number


@lru_cache(maxsize=8_192)
def decimal_of(text: str) -> Decimal | None:
    """The finite decimal of a text; None when it is none. Kept, because most texts come again and again."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() and -_MOST_DIGITS < number.adjusted() < _MOST_DIGITS else None
