"""The retry policy: what each return code, HTTP status or network error of a call means and what to do.

| kind | read | write |
|---|---|---|
| OK | success | success (the requested state is in force) |
| BUSY | send again after a pause | send again after a pause: it certainly did not happen |
| LIMITED | as BUSY, after the window's reset | as BUSY |
| CLOCK | measure the clock, send again | as read: it did not happen |
| UNKNOWN_OUTCOME | send again after a pause | look it up first: it may have happened |
| REFUSED | error | error: the same request would be refused again |
| ORDER_NOT_FOUND | error | the order is not (or no longer) open |
| NOTHING_TO_CLOSE | error | already flat |
| SESSION_CLOSED | error | the market behind the symbol is closed: it takes the order once it opens |
| DUPLICATE | error | this `orderLinkId` is taken: our first send arrived; look it up |
| UNSUPPORTED | a gap of this environment | a gap of this environment |
| KEY_REFUSED | the key is unusable: nothing more is sent with it | as read |
| BANNED | this address is banned: nothing is sent for ten minutes | as read |
"""

from enum import Enum, auto

BAN_S = 600.0


class ErrorKind(Enum):
    """What a failure means; see the table in the module's docstring."""

    OK = auto()
    BUSY = auto()
    LIMITED = auto()
    CLOCK = auto()
    UNKNOWN_OUTCOME = auto()
    REFUSED = auto()
    ORDER_NOT_FOUND = auto()
    NOTHING_TO_CLOSE = auto()
    SESSION_CLOSED = auto()
    DUPLICATE = auto()
    UNSUPPORTED = auto()
    KEY_REFUSED = auto()
    BANNED = auto()


_CODES: dict[ErrorKind, tuple[int, ...]] = {
    # "not modified": the requested state is already in force
    ErrorKind.OK: (0, 110025, 110026, 110027, 110043, 34040),
    ErrorKind.BUSY: (10019, 10429, 110079, 170005, 170222, 170191, 170212, 170035, 20003),
    ErrorKind.LIMITED: (10006,),
    ErrorKind.CLOCK: (-1, 10002),
    ErrorKind.UNKNOWN_OUTCOME: (
        429,
        10000,
        10016,
        500000,
        170001,
        170007,
        170032,
        170146,
        170147,
        170234,
    ),
    ErrorKind.ORDER_NOT_FOUND: (110001, 110008, 110010, 170139, 170142, 170190, 170213, 170143),
    ErrorKind.NOTHING_TO_CLOSE: (110017,),
    ErrorKind.SESSION_CLOSED: (110065,),
    ErrorKind.DUPLICATE: (110072, 170141, 10014),
    ErrorKind.KEY_REFUSED: (10003, 10004, 10005, 10007, 10008, 10009, 10010, 10024, 10027, 33004, -2015),
    ErrorKind.BANNED: (10018, 10403),
}
_KIND_OF_CODE = {code: kind for kind, codes in _CODES.items() for code in codes}

_REMEDIES = {
    10003: "the key is wrong or belongs to another environment or region (live, demo and testnet keys look alike); "
    "check the key, BYBIT_DEMO, BYBIT_TESTNET and BYBIT_REGION; alpha doctor looks where it belongs",
    10004: "the signature does not match; check that the secret belongs to the key",
    10005: "the key lacks a permission; give it Orders and Positions, never Withdraw",
    10007: "the key was not recognised; make a new one",
    10008: "the account is banned or in the wrong mode; look at it on bybit.com",
    10009: "Bybit does not serve this region",
    10010: "the key is bound to other IP addresses; add this machine's",
    10024: "the account must pass a compliance check on bybit.com",
    10027: "trading is forbidden for this account; look at it on bybit.com",
    33004: "the key has expired; make a new one",
    -2015: "the key has expired; make a new one",
}


def kind_of_code(ret_code: int, message: str = "") -> ErrorKind:
    """What a `retCode` means. An unknown code is REFUSED: nothing is known that would allow a repeat."""
    if "demo trading" in message.lower() and "not supported" in message.lower():
        return ErrorKind.UNSUPPORTED
    return _KIND_OF_CODE.get(ret_code, ErrorKind.REFUSED)


def kind_of_status(http_status: int) -> ErrorKind:
    """What an HTTP status other than 200 means."""
    if http_status == 403:
        return ErrorKind.BANNED
    if http_status == 401:
        return ErrorKind.KEY_REFUSED
    if http_status == 429:
        return ErrorKind.BUSY
    if 400 <= http_status < 500:
        return ErrorKind.REFUSED
    return ErrorKind.UNKNOWN_OUTCOME


def remedy_of(ret_code: int) -> str:
    """What the operator should do about a key refused with this code."""
    return _REMEDIES.get(ret_code, "look at the key on bybit.com")
