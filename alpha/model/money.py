"""Parses and formats amounts as Decimal, from the wire to the column, never via float."""

from decimal import Decimal, InvalidOperation

from alpha.errors import Rejected

ZERO = Decimal(0)
ONE = Decimal(1)
#: No amount, price or share that a person means is further from one than this power of ten.
MOST_POWER = 20


def amount(text: object, name: str) -> Decimal:
    """The finite Decimal in `text`.

    Raises Rejected, naming `name`, for a float, an empty string and anything that is not a finite number.
    """
    if isinstance(text, Decimal):
        value = text
    elif isinstance(text, bool | float) or not isinstance(text, str | int):
        raise Rejected(f"{name} must be a decimal text, not {type(text).__name__} {text!r}.")
    else:
        try:
            value = Decimal(text)
        except InvalidOperation:
            raise Rejected(f"{name} must be a decimal number, not {text!r}.") from None
    if not value.is_finite():
        raise Rejected(f"{name} must be a finite number, not {text!r}.")
    return value


def amount_or_none(text: object, name: str) -> Decimal | None:
    """Like `amount`, but None for an absent or empty string, which Bybit sends for "unset"."""
    return None if text is None or text == "" else amount(text, name)


def amount_or_zero(text: object, name: str) -> Decimal:
    """Like `amount`, but zero for an absent or empty string, for fields where Bybit means "none" by that."""
    return ZERO if text is None or text == "" else amount(text, name)


def is_usual(value: Decimal) -> bool:
    """Finite, and zero or of a size that somebody can mean.

    Others overflow when they are computed with, and 1e-999999999 is written with a billion digits.
    """
    return value.is_finite() and (not value or abs(value.adjusted()) <= MOST_POWER)


def usual_or_refused(value: object) -> object:
    """A setting as it is. ValueError where it is a Decimal that nobody means, or holds one as a table or a list."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else (value,)
    if any(isinstance(each, Decimal) and not is_usual(each) for each in parts):
        raise ValueError(f"must be zero, or between 1e-{MOST_POWER} and 1e{MOST_POWER} in size")
    return value


def plain(value: Decimal) -> str:
    """`value` without exponent and trailing zeros: 1E-5 is "0.00001", 10.50 is "10.5"."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text
