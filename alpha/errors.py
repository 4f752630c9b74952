"""The exception tree; the class of an error says what to do about it.

`Retry` may be tried again as it is, `Unknown` must be looked up first, `Rejected` will fail again,
`Misconfigured` needs the operator, `Fatal` ends the process. A message is one sentence that names
the thing, then the remedy; it is what the user reads.
"""

_SHOWN = 100


def shown(value: object) -> str:
    """A wrong value as shown in a message; a long one is cut, with its length."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text):,} characters)"


def inside(text: str) -> str:
    """A text as the rest of a sentence: its first letter small, unless an abbreviation such as GB begins there."""
    return text if text[1:2].isupper() else f"{text[:1].lower()}{text[1:]}"


class AlphaError(Exception):
    """Base class of every expected failure."""

    exit_code = 1


class Retry(AlphaError):
    """A transient failure of a read, or of a write that certainly did not happen: retry after `after_s` seconds."""

    def __init__(self, message: str, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


class Unknown(AlphaError):
    """A write with an unknown outcome: look it up before sending anything else."""


class Rejected(AlphaError):
    """A request that was understood and refused; the same request would be refused again."""


class Misconfigured(AlphaError):
    """A fault in a setting, key or environment that only the operator can fix."""

    exit_code = 2


class Fatal(AlphaError):
    """A state in which continuing would do harm; the process exits and says why."""

    exit_code = 70
