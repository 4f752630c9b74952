"""Parses periods as people write them: `7d`, `this month`, `2025-06`."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from alpha.errors import Rejected
from operations.storable import brief

EXAMPLES = "7d, 4w, today, yesterday, this week, last month, this year, 2025, 2025-06, 2025-06-03, all"
DEFAULT = "30d"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Period:
    """A half-open interval [`start`, `end`), both aware UTC. Whole UTC days, as in the history."""

    start: datetime
    end: datetime
    label: str

    @property
    def days(self) -> int:
        """The number of UTC days."""
        return (self.end - self.start) // timedelta(days=1)


def parse_period(text: str, now: datetime) -> Period:
    """Return the period that `text` means at `now` (exchange time). Rejected, with examples, if it is not a period.

    `7d` is today and the six days before it; `4w` 28 days, `3m` and `1y` calendar months and years back from today.
    """
    written = " ".join(text.lower().replace("_", " ").split())
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    tomorrow = _moved(today, text, days=1)
    named = _named(written, today, tomorrow)
    if named is not None:
        return Period(*named, written)
    if match := re.fullmatch(r"(?:last )?(\d{1,4}) ?(d|days?|w|weeks?|m|months?|y|years?)", written):
        count, unit = int(match[1]), match[2][0]
        if count == 0:
            raise _not_understood(text)
        if unit in "dw":
            days = count * (7 if unit == "w" else 1)
            return Period(_moved(tomorrow, text, days=-days), tomorrow, f"last {days} days")
        months = count * (12 if unit == "y" else 1)
        return Period(_months_back(today, months, text), tomorrow, f"last {months} months")
    if match := re.fullmatch(r"(\d{4})(?:-(\d{1,2}))?(?:-(\d{1,2}))?", written):
        return _calendar(text, match)
    if match := re.fullmatch(r"(\d{4}-\d{1,2}(?:-\d{1,2})?) ?(?:\.\.|to) ?(\d{4}-\d{1,2}(?:-\d{1,2})?)", written):
        first, last = parse_period(match[1], now), parse_period(match[2], now)
        if first.start >= last.end:
            raise Rejected(f"The period {brief(text)} ends before it begins. Write the earlier date first.")
        return Period(first.start, last.end, f"{first.label} to {last.label}")
    raise _not_understood(text)


def _named(written: str, today: datetime, tomorrow: datetime) -> tuple[datetime, datetime] | None:
    monday = today - timedelta(days=today.weekday())
    month = today.replace(day=1)
    year = month.replace(month=1)
    last_month = (month - timedelta(days=1)).replace(day=1)
    names = {
        "today": (today, tomorrow),
        "yesterday": (today - timedelta(days=1), today),
        "this week": (monday, tomorrow),
        "week": (monday, tomorrow),
        "last week": (monday - timedelta(days=7), monday),
        "this month": (month, tomorrow),
        "month": (month, tomorrow),
        "last month": (last_month, month),
        "this year": (year, tomorrow),
        "year": (year, tomorrow),
        "last year": (year.replace(year=year.year - 1), year),
        "all": (EPOCH, tomorrow),
        "ever": (EPOCH, tomorrow),
    }
    return names.get(written)


def _calendar(text: str, match: re.Match[str]) -> Period:
    year, month, day = (int(part) if part else None for part in match.groups())
    try:
        start = datetime(year or 0, month or 1, day or 1, tzinfo=UTC)
        if day is not None:
            end = start + timedelta(days=1)
        elif month is not None:
            end = (start + timedelta(days=32)).replace(day=1)
        else:
            end = start.replace(year=start.year + 1)
    except (ValueError, OverflowError):
        raise _not_understood(text) from None
    label = f"{start:%Y-%m-%d}" if day is not None else f"{start:%Y-%m}" if month is not None else f"{start:%Y}"
    return Period(start, end, label)


def _moved(moment: datetime, text: str, *, days: int) -> datetime:
    try:
        return moment + timedelta(days=days)
    except OverflowError:
        raise _not_understood(text) from None


def _months_back(today: datetime, months: int, text: str) -> datetime:
    number = today.year * 12 + today.month - 1 - months
    if number < 12:
        raise _not_understood(text)
    day = today.day
    while True:
        try:
            return today.replace(year=number // 12, month=number % 12 + 1, day=day) + timedelta(days=1)
        except ValueError:
            day -= 1


def _not_understood(text: str) -> Rejected:
    return Rejected(f"{brief(text)} is not a period. Examples: {EXAMPLES}.")
