"""Parses and formats amounts as Decimal, from the wire to the column, never via float."""

from decimal import Decimal, InvalidOperation

from alpha.errors import Rejected

ZERO = Decimal(0)
ONE = Decimal(1)


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


def plain(value: Decimal) -> str:
    """`value` without exponent and trailing zeros: 1E-5 is "0.00001", 10.50 is "10.5"."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text
