"""The exception tree says what to do with a failure.

`Retry` may be tried again as it is, `Unknown` must be looked up first, `Rejected` will fail again,
`Misconfigured` needs the operator, `Fatal` ends the process. A message is one sentence that names
the thing, then the remedy; it is what the user reads.
"""

_SHOWN = 100


def shown(value: object) -> str:
    """A wrong value as a message shows it: its beginning and its length where it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text):,} characters)"


class AlphaError(Exception):
    """Every failure that Alpha foresees."""

    exit_code = 1


class Retry(AlphaError):
    """A passing fault of a read, or of a write that surely did not happen: try again after `after_s` seconds."""

    def __init__(self, message: str, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


class Unknown(AlphaError):
    """A write whose outcome is not known: look it up before anything else is sent."""


class Rejected(AlphaError):
    """A request that was understood and refused; the same request would be refused again."""


class Misconfigured(AlphaError):
    """A setting, key or environment that only the operator can mend."""

    exit_code = 2


class Fatal(AlphaError):
    """A state in which going on would do harm; the process ends and says why."""

    exit_code = 70
