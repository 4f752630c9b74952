"""Formats amounts, times and ages: signed, with units, in the operator's time zone."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import ROUND_HALF_EVEN, Decimal

from alpha.model.money import ZERO, plain
from operations.page import Cell, Tone

NONE = Cell("-", Tone.DIM)
#: A time as services write it, which do not know the operator's zone.
_WRITTEN = re.compile(r"\b(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2}(?::\d{2})?) UTC\b")
_CENT = Decimal("0.01")


def usdt(value: Decimal | None, *, signed: bool = True) -> Cell:
    """An amount in USDT to the cent: `+1,234.50`, green or red if signed."""
    if value is None:
        return NONE
    cents = value.quantize(_CENT, rounding=ROUND_HALF_EVEN)
    # zero has no sign: -0.00 is 0.00
    shown = cents or abs(cents)
    text = f"{shown:+,.2f}" if signed and shown else f"{shown:,.2f}"
    whole = shown.quantize(Decimal(1), rounding=ROUND_HALF_EVEN) or Decimal(0)
    short = f"{whole:+,}" if signed and whole else f"{whole:,}"
    return Cell(text, tone_of(cents) if signed else Tone.PLAIN, short=short)


def tone_of(value: Decimal | None) -> Tone:
    """Good above zero, bad below."""
    if value is None or not value:
        return Tone.PLAIN
    return Tone.GOOD if value > 0 else Tone.BAD


def percent(value: Decimal | None, *, signed: bool = True, digits: int = 1) -> Cell:
    """A figure already in per cent: `+1.5 %`."""
    if value is None:
        return NONE
    rounded = round(value, digits) or ZERO
    text = f"{rounded:+.{digits}f} %" if signed and rounded else f"{rounded:.{digits}f} %"
    return Cell(text, tone_of(rounded) if signed else Tone.PLAIN)


def ratio(value: Decimal | None) -> Cell:
    """A plain figure to two places."""
    return NONE if value is None else Cell(f"{round(value, 2):.2f}")


def number(value: Decimal | None) -> Cell:
    """A price or size with all digits and thousands separators; long averages have eight significant digits."""
    if value is None:
        return NONE
    whole, _, fraction = plain(value).partition(".")
    if fraction:
        kept = max(2, 8 - len(whole.lstrip("-0")))
        whole, _, fraction = plain(round(value, min(kept, len(fraction)))).partition(".")
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    return Cell(f"{sign}{int(digits):,}{'.' + fraction if fraction else ''}")


def count(value: int | None) -> Cell:
    """A whole number."""
    return NONE if value is None else Cell(f"{value:,}")


def moment(value: datetime | None, zone: tzinfo) -> Cell:
    """Day and minute in the operator's zone: `11-22 10:15`. The page names the zone once (`zone_name`)."""
    return NONE if value is None else Cell(f"{value.astimezone(zone):%m-%d %H:%M}")


def full_moment(value: datetime, zone: tzinfo) -> str:
    """Date, time and zone: `2025-11-22 10:15:03 CET`."""
    return f"{value.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def zone_name(value: datetime, zone: tzinfo) -> str:
    """The name of the operator's zone at that time: `CET`."""
    return f"{value.astimezone(zone):%Z}"


def span(value: timedelta | float | None) -> Cell:
    """A duration in its two largest units: `3 h 20 m`. A number means seconds."""
    if value is None:
        return NONE
    seconds = int(value.total_seconds() if isinstance(value, timedelta) else value)
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        if seconds >= size or (unit == "s" and not parts):
            parts.append(f"{seconds // size} {unit}")
            seconds %= size
        elif parts:
            break
    return Cell(" ".join(parts[:2]))


def text(value: str, tone: Tone = Tone.PLAIN) -> Cell:
    """A text, or a dash if empty."""
    return Cell(value, tone) if value else NONE


def in_zone(text: str, zone: tzinfo) -> str:
    """The text of a service with its times, which are written in UTC, in the operator's zone."""

    def moved(match: re.Match[str]) -> str:
        try:
            written = datetime.fromisoformat(f"{match[1]}T{match[2]}").replace(tzinfo=UTC).astimezone(zone)
        except ValueError:
            return match[0]
        return f"{written:%Y-%m-%d %H:%M:%S %Z}" if len(match[2]) > 5 else f"{written:%Y-%m-%d %H:%M %Z}"

    return _WRITTEN.sub(moved, text)


def bps(value: Decimal, *, good: int = -1) -> Cell:
    """Basis points; `good` is the sign of those that are to our advantage."""
    tone = Tone.GOOD if value * good > 0 else Tone.BAD if value * good < 0 else Tone.PLAIN
    return Cell(f"{value:+.2f}" if value else "0.00", tone)
