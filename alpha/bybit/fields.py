"""Reads single fields of a Bybit row: text to Decimal, milliseconds to int, and what "" and "0" mean."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import NoReturn

from alpha.bybit.documented import note_row
from alpha.bybit.errors import UnreadableRow
from alpha.model.timestamp import ms_of

_ZERO = Decimal(0)
#: No amount, price or value on an exchange has more digits before or after the point; longer means corrupt.
LONGEST_NUMBER = 40
#: No time on an exchange is later.
YEAR_3000_MS = 32_503_680_000_000


class Fields:
    """One row, read field by field; every failure is an UnreadableRow that names the row kind and field."""

    __slots__ = ("_get", "kind", "row")

    def __init__(self, kind: str, row: object) -> None:
        if not isinstance(row, Mapping):
            raise UnreadableRow(kind, "whole", "is not an object", row)
        self.kind = kind
        self.row = row
        self._get = row.get
        note_row(kind, row)

    def fail(self, name: str, what: str) -> NoReturn:
        """Refuse the row because of the field `name`."""
        raise UnreadableRow(self.kind, name, what, self.row)

    def text(self, name: str) -> str:
        """A required non-empty string."""
        value = self._get(name)
        if type(value) is not str or not value:
            self.fail(name, "is missing" if value is None or value == "" else f"is not a string: {value!r}")
        return value

    def any_text(self, name: str) -> str:
        """A string; "" when absent."""
        value = self._get(name)
        if value is None:
            return ""
        if type(value) is not str:
            self.fail(name, f"is not a string: {value!r}")
        return value

    def number(self, name: str) -> Decimal:
        """A required finite decimal, sent as a string (an integer is accepted, a float never)."""
        value = self._get(name)
        if value is None or value == "":
            self.fail(name, "is missing")
        return self._decimal(name, value)

    def number_or_zero(self, name: str) -> Decimal:
        """A finite decimal; zero when absent or empty, for fields where Bybit means "none" by that."""
        value = self._get(name)
        return _ZERO if value is None or value == "" else self._decimal(name, value)

    def number_or_none(self, name: str) -> Decimal | None:
        """A finite decimal; None when absent or empty."""
        value = self._get(name)
        return None if value is None or value == "" else self._decimal(name, value)

    def level_or_none(self, name: str) -> Decimal | None:
        """A price level or distance; None for "", "0" and "0.00", which Bybit uses for "unset"."""
        value = self.number_or_none(name)
        return value if value else None

    def integer(self, name: str) -> int:
        """A required integer, sent as a number or a string."""
        value = self.integer_or_none(name)
        if value is None:
            self.fail(name, "is missing")
        return value

    def integer_or_none(self, name: str) -> int | None:
        """An integer, sent as a number or a string; None when absent or empty."""
        value = self._get(name)
        if type(value) is int:
            return value
        if value is None or value == "":
            return None
        if type(value) is str and len(value) <= LONGEST_NUMBER:
            try:
                return int(value)
            except ValueError:
                self.fail(name, f"is not an integer: {value!r:.80}")
        raise UnreadableRow(self.kind, name, f"is not an integer: {value!r:.80}", self.row)

    def ms(self, name: str) -> int:
        """A required time in milliseconds since 1970 UTC; must be positive."""
        value = self.ms_or_none(name)
        if value is None:
            self.fail(name, "is missing")
        return value

    def ms_or_none(self, name: str) -> int | None:
        """A time in milliseconds since 1970 UTC; None when absent, "" or "0". Fails for implausibly distant times."""
        value = self.integer_or_none(name)
        if value is None or value == 0:
            return None
        if not 0 < value < YEAR_3000_MS:
            self.fail(name, f"is not a time in milliseconds: {value!r}")
        return value

    def ms_or_iso(self, name: str) -> int | None:
        """Like `ms_or_none`, but also accepts ISO 8601, which the public stream uses for some times."""
        value = self._get(name)
        if type(value) is str and "T" in value:
            try:
                return ms_of(datetime.fromisoformat(value))
            except ValueError:
                self.fail(name, f"is not a time: {value!r:.80}")
        return self.ms_or_none(name)

    def flag(self, name: str) -> bool:
        """A required boolean."""
        value = self._get(name)
        if type(value) is not bool:
            self.fail(name, "is missing" if value is None else f"is not a boolean: {value!r}")
        return value

    def flag_or_false(self, name: str) -> bool:
        """A boolean; False when absent or empty."""
        value = self._get(name)
        return False if value is None or value == "" else self.flag(name)

    def child(self, name: str) -> "Fields":
        """A required nested object."""
        value = self._get(name)
        if not isinstance(value, Mapping):
            self.fail(name, "is missing" if value is None else "is not an object")
        return Fields(f"{self.kind}.{name}", value)

    def rows(self, name: str) -> list[object]:
        """A required list."""
        value = self._get(name)
        if not isinstance(value, list):
            self.fail(name, "is missing" if value is None else "is no list")
        return value

    def raw(self, name: str) -> object:
        """The raw field; None when absent."""
        return self._get(name)

    def _decimal(self, name: str, value: object) -> Decimal:
        if type(value) is not str:
            if type(value) is not int:
                self.fail(name, f"is not a decimal string: {value!r:.80}")
            value = str(value)
        number = decimal_of(value)
        if number is None:
            self.fail(name, f"is not a decimal number, or is out of range: {value!r:.80}")
        return number


@lru_cache(maxsize=8_192)
def decimal_of(text: str) -> Decimal | None:
    """The finite decimal in a string; None when it is not one. Cached, because most strings recur."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() and -LONGEST_NUMBER < number.adjusted() < LONGEST_NUMBER else None
