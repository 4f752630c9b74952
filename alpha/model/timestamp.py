"""Converts between UTC milliseconds, as used by Bybit, and aware datetimes."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


_MS = timedelta(milliseconds=1)


def at(ms: int) -> datetime:
    """The aware UTC time `ms` milliseconds after 1970, exact to the millisecond."""
    return EPOCH + ms * _MS


def ms_of(moment: datetime) -> int:
    """Milliseconds since 1970 UTC of an aware time; raises ValueError for a naive one."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone is ambiguous; make it aware")
    return (moment - EPOCH) // _MS
