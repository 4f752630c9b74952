"""The errors of a Bybit call, placed in the exception tree that says what to do about them."""

from alpha.errors import Misconfigured, Rejected, Retry, Unknown


class Busy(Retry):
    """The exchange or network did not serve a call that changed nothing; the same call may be sent again."""

    def __init__(self, message: str, after_s: float | None = None, ret_code: int | None = None) -> None:
        super().__init__(message, after_s)
        self.ret_code = ret_code


class RateLimited(Busy):
    """Too many calls (10006); `after_s` is when the rate-limit window resets."""


class ClockRefused(Busy):
    """The exchange refused the timestamp of the signature (10002); the offset must be measured again."""


class Throttled(Retry):
    """Our own request budget had no room within the caller's wait limit."""


class AddressBanned(Retry):
    """Bybit has banned this IP address (HTTP 403); nothing may be sent until `after_s` has passed."""


class WriteUnknown(Unknown):
    """A write whose answer was lost or ambiguous: it may have happened. Look it up before sending again."""

    def __init__(self, message: str, ret_code: int | None = None) -> None:
        super().__init__(message)
        self.ret_code = ret_code


class Refused(Rejected):
    """The exchange understood the request and refused it; `ret_code` is its reason."""

    def __init__(self, message: str, ret_code: int) -> None:
        super().__init__(message)
        self.ret_code = ret_code


class NotSupported(Refused):
    """This environment lacks the call (for example fee rates on demo): a gap, not a fault."""


class NothingToClose(Refused):
    """A reduce-only order found no position to reduce (110017): it is already flat, or on the other side."""


class SessionClosed(Refused):
    """The market of the symbol's underlying is closed (110065): the same order is taken once it opens."""


class OrderGone(Refused):
    """The order is no longer open, or never was (110001, 110008, 110010): read its state again."""


class DuplicateOrder(Refused):
    """This `orderLinkId` is taken (110072): an earlier send of the same order arrived. Look it up."""


class KeyRefused(Misconfigured):
    """The exchange rejects this key: wrong, expired, of another environment or lacking a permission."""

    def __init__(self, message: str, ret_code: int) -> None:
        super().__init__(message)
        self.ret_code = ret_code


class UnreadableRow(Rejected):
    """A row from the exchange lacks a required field, or the field is unreadable."""

    def __init__(self, kind: str, field: str, what: str, row: object) -> None:
        super().__init__(f"Bybit sent a {kind} row whose {field} {what}; the row is {row!r:.600}.")
        self.kind = kind
        self.field = field
        self.what = what
        self.row = row


class CapExceeded(Rejected):
    """An order exceeds one of the hard caps; `cap` names it, `setting` is where it is set."""

    def __init__(self, cap: str, setting: str, message: str) -> None:
        super().__init__(message)
        self.cap = cap
        self.setting = setting


class TradingHalted(Rejected):
    """A halt is in force for this account: nothing that opens or increases a position is sent."""
