"""API keys: owner and permissions."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from hashlib import blake2b

from exchange_simulator.engine.model import Refused

DEFAULT_DEPOSIT = Decimal(100_000)
PERMISSIONS: dict[str, tuple[str, ...]] = {
    "ContractTrade": ("Order", "Position"),
    "Spot": ("SpotTrade",),
    "Wallet": (),
    "Options": ("OptionsTrade",),
    "Derivatives": ("DerivativesTrade",),
    "CopyTrading": (),
    "BlockTrade": (),
    "Exchange": (),
    "NFT": (),
    "Affiliate": (),
    "Earn": (),
}
ENVIRONMENTS = ("simulated", "live", "demo", "testnet")


#: Hosts by the region whose keys they accept. Any other host, such as a loopback address, accepts every key.
REGIONS = {
    "bybit.com": "global",
    "bytick.com": "global",
    "bybit.nl": "nl",
    "bybit.tr": "tr",
    "bybit.kz": "kz",
    "bybitgeorgia.ge": "ge",
    "bybit.ae": "ae",
    "bybit.id": "id",
    "bybit.eu": "eu",
    "manepa.jp": "jp",
}


def region_of(host: str) -> str:
    """The region of a `Host` header; "" for a host without one."""
    name = host.partition(":")[0].lower()
    return next((region for domain, region in REGIONS.items() if name.endswith(f".{domain}")), "")


class BadAccount(Exception):
    """An account argument cannot be parsed. The message is one sentence for the operator."""


@dataclass(slots=True)
class Key:
    """One API key. Several may belong to one account."""

    api_key: str
    secret: str
    uid: int
    deposit: Decimal
    read_only: bool = False
    permissions: tuple[str, ...] = ("ContractTrade", "Derivatives", "Spot", "Options")
    wallet_permissions: tuple[str, ...] = ()
    environment: str = "simulated"
    revoked: bool = False
    ends: datetime = datetime(2099, 1, 1, tzinfo=UTC)
    ips: tuple[str, ...] = ()  # IP addresses it is bound to; empty: any
    usdc: Decimal = Decimal(0)  # USDC deposit, in addition to USDT
    mnt: Decimal = Decimal(0)  # MNT deposit; the account starts with fees paid in MNT
    region: str = "global"  # region of the site where the account is registered
    demo: bool = False  # a demo trading account
    hedge: bool = False  # the account starts in hedge mode
    isolated: bool = False  # the account starts in isolated margin
    parent: int = 0  # userID of the main account; 0: this is one
    dcp: bool = False  # disconnect protection is on: a lost connection cancels the account's orders

    def allows(self, group: str) -> bool:
        return group in self.permissions


def uid_of(name: str) -> int:
    """A userID derived from a name."""
    return 100_000_000 + int.from_bytes(blake2b(name.encode(), digest_size=4).digest(), "big") % 900_000_000


def parse_account(text: str) -> Key:
    """`KEY:SECRET[:USDT[:OPTION,...]]`.

    Options: `read-only`; `of=NAME` puts the key on the account NAME (by default a key names its own account);
    `uid=NUMBER`; `withdraw` adds the withdrawal permission; `no-trade` removes the trading permissions;
    `env=demo|testnet|live` makes it a key of another environment; `ends=YYYY-MM-DD` sets its expiry; `ip=ADDRESS`
    binds it to an address; `usdc=AMOUNT` also deposits USDC; `mnt=AMOUNT` deposits MNT and pays fees from it;
    `region=NAME` registers the account on another Bybit site; `demo` makes it a demo trading account; `hedge` and
    `isolated` start the account in hedge mode and in isolated margin; `dcp` shows disconnect protection as on; `sub=NAME` makes it a
    sub-account of the account NAME; `transfer` adds the rights to transfer between accounts.
    """
    parts = text.split(":", 3)
    if len(parts) < 2 or not parts[0] or not parts[1]:
        raise BadAccount(f"The account {parts[0]!r} is not KEY:SECRET[:USDT]: give a key, a colon and a secret.")
    key = Key(parts[0], parts[1], uid_of(parts[0]), DEFAULT_DEPOSIT)
    if len(parts) > 2 and parts[2]:
        try:
            key.deposit = Decimal(parts[2])
        except InvalidOperation:
            key.deposit = Decimal(-1)
        if not key.deposit.is_finite() or key.deposit < 0:
            raise BadAccount(
                f"The balance {parts[2]!r} of account {parts[0]!r} is not an amount of USDT such as 10000."
            )
    for option in parts[3].split(",") if len(parts) > 3 and parts[3] else ():
        _apply(key, option)
    return key


def _apply(key: Key, option: str) -> None:
    name, _, value = option.partition("=")
    if name == "read-only":
        key.read_only = True
    elif name == "withdraw":
        key.wallet_permissions = ("Withdraw",)
    elif name == "no-trade":
        key.permissions = ()
    elif name == "of" and value:
        key.uid = uid_of(value)
    elif name == "sub" and value:
        key.parent = uid_of(value)
    elif name == "transfer" and not value:
        key.wallet_permissions = ("AccountTransfer", "SubMemberTransfer")
    elif name == "uid" and value.isascii() and value.isdigit() and len(value) < 16:
        key.uid = int(value)
    elif name == "env" and value in ENVIRONMENTS:
        key.environment = value
    elif name == "usdc" and (amount := _amount(value)) is not None:
        key.usdc = amount
    elif name == "mnt" and (amount := _amount(value)) is not None:
        key.mnt = amount
    elif name == "region" and value in REGIONS.values():
        key.region = value
    elif name in ("demo", "hedge", "isolated", "dcp") and not value:
        setattr(key, name, True)
    elif name == "ends" and (day := _day(value)) is not None:
        key.ends = day
    elif name == "ip" and value:
        key.ips = (*key.ips, value)
    else:
        raise BadAccount(
            f"The option {option!r} of account {key.api_key!r} is unknown: "
            "use read-only, withdraw, no-trade, of=NAME, uid=NUMBER, usdc=AMOUNT, mnt=AMOUNT, region=NAME, "
            "demo, hedge, isolated, sub=NAME, transfer, "
            "env=demo|testnet|live, ends=YYYY-MM-DD or ip=ADDRESS."
        )


def _amount(text: str) -> Decimal | None:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount >= 0 else None


def _day(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None


def usable(key: Key | None, now_ms: int, address: str = "", host: str = "") -> Key:
    """Returns the key if it may be used now from an address and at a host ("" skips the check).

    `Refused` 10003 for one that is unknown, revoked or of another environment or region, 33004 for one that has expired
    by business time, 10010 for one that is bound to other addresses.
    """
    if key is None or key.revoked or key.environment != "simulated":
        raise Refused(10003, "API key is invalid.")
    if region_of(host) not in ("", key.region):
        raise Refused(10003, "API key is invalid.")
    if now_ms >= key.ends.timestamp() * 1000:
        raise Refused(33004, "Your api key has expired.")
    if key.ips and address and address not in key.ips:
        raise Refused(10010, "Unmatched IP, please check your API key's bound IP addresses.")
    return key


def check_permission(key: Key, group: str) -> None:
    """Raises `Refused` 10005 unless the key may write in an endpoint group."""
    if key.read_only or not key.allows(group):
        raise Refused(10005, "Permission denied, please check your API key permissions.")
