"""The finding of a check: one line, and the remedy if there is something to do."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum

from alpha.errors import AlphaError


class CheckOutcome(StrEnum):
    """The outcome of a check. Only `FAULT` prevents Alpha from working."""

    OK = "ok"
    NOTE = "note"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report."""

    outcome: CheckOutcome
    subject: str
    text: str
    remedy: str = ""


def ok(subject: str, text: str) -> Finding:
    """A passed check."""
    return Finding(CheckOutcome.OK, subject, text)


def note(subject: str, text: str, remedy: str = "") -> Finding:
    """Worth knowing, but Alpha works."""
    return Finding(CheckOutcome.NOTE, subject, text, remedy)


def fault(subject: str, text: str, remedy: str = "") -> Finding:
    """A failed check."""
    return Finding(CheckOutcome.FAULT, subject, text, remedy)


Check = Callable[[], AsyncIterator[Finding]]


async def carried_out(subject: str, check: Check) -> AsyncIterator[Finding]:
    """The findings of a check; an AlphaError becomes a fault, so that the other checks still run."""
    try:
        async for finding in check():
            yield finding
    except AlphaError as error:
        for line in str(error).splitlines():
            yield fault(subject, line)
