"""What stands beside the listener in a fault round: trade sync, guard and a real bot, each with a second instance."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from alpha.model.order_link import parse_order_link_id
from alpha.model.reason import Reason
from tests.support.bot_harness import ENTRIES
from tests.support.world import BOTS, ROOT, Process

#: The account on which a real bot trades; on the others the suite trades by hand.
BOT = BOTS[0]
BOT_SYMBOLS = ("BTCUSDT", "ETHUSDT")
_LEASE_S = 2
#: How an instance may end: orderly, having lost its lease, or killed by a fault.
_ENDS = {0, 70, -9, -15}
#: Role to its database role, its arguments, its variables, and who holds its lease.
_ROLES: dict[str, tuple[str, list[str], dict[str, str], str]] = {
    "sync": (
        "alpha_sync",
        ["-m", "trade_sync_service"],
        {"SYNC_INTERVAL_S": "3", "SYNC_HISTORY_DAYS": "7", "SYNC_GRACE_S": "20", "ALPHA_STANDBY": "true"},
        "SELECT holder FROM trading.service_leases WHERE name = 'trade_sync_service' AND expires_at > clock_timestamp()",
    ),
    "guard": (
        "alpha_guard",
        ["-m", "risk_guard"],
        {
            "GUARD_PATROL_S": "2",
            "GUARD_LEASE_S": "2",
            "BOT_CONTROL_URL": "unix:///no/such/socket",
            # The market is fast and the hands trade wildly: its limits are not what is tested here.
            **dict.fromkeys(
                ("GUARD_DAY_LOSS_PCT", "GUARD_WEEK_LOSS_PCT", "GUARD_MONTH_LOSS_PCT", "GUARD_DRAWDOWN_PCT"), "99"
            ),
            **dict.fromkeys(("GUARD_PORTFOLIO_DAY_LOSS_PCT", "GUARD_PORTFOLIO_DRAWDOWN_PCT"), "99"),
            **dict.fromkeys(("GUARD_MAX_GROSS", "GUARD_MAX_NET"), "1000"),
            "GUARD_MAX_ORDERS_PER_MINUTE": "1000000",
        },
        "SELECT holder FROM trading.guard_lease WHERE expires_at > clock_timestamp()",
    ),
    "bot": (
        "alpha_strategy",
        [str(ROOT / ENTRIES[BOT.bot])],
        {
            "ALPHA_LEASE_SECONDS": str(_LEASE_S),
            "SHORTSELLER_SYMBOLS": str(list(BOT_SYMBOLS)).replace("'", '"'),
            "SHORTSELLER_HOLD_BARS": "1",
            "SHORTSELLER_NOTIONAL": "500",
        },
        "SELECT holder FROM trading.bot_leases WHERE expires_at > clock_timestamp()",
    ),
}


@dataclass
class Service:
    """One service: the instance that works, and one that the faults of two instances start."""

    role: str
    working: Process
    spare: Process
    holder: str

    @property
    def hosts(self) -> tuple[str, str]:
        """What the names of the proxy begin with in the requests of the working and of the spare instance."""
        names = ("127.0.0.1", "localhost")
        return names if self.working.name == self.role else (names[1], names[0])

    def alive(self) -> list[str]:
        """Start an instance that has ended, as a container engine does; what it should not have ended with."""
        code = self.working.exit_code()
        if code is None and self.working.running:
            return []
        faults = []
        # A key that is refused at work ends a bot with an alert; the engine starts it again until the key is back.
        revoked = code == 2 and "retCode 10003" in self.working.said()[-1_500:]
        if code not in _ENDS and not revoked:
            faults.append(f"the {self.role} ended with {code}: {self.working.said()[-600:]}")
        self.working.start()
        return faults


@dataclass
class Stack:
    """All of them."""

    services: dict[str, Service] = field(default_factory=dict)
    _book: dict[str, Decimal] = field(default_factory=dict)
    _opened_by: dict[str, str] = field(default_factory=dict)
    #: Up to where the ledger of the bot's account was looked through.
    after: int = 0

    @classmethod
    def made(cls, folder: Path, environment: Mapping[str, str]) -> "Stack":
        """Not started yet. `environment` reaches the stores and the exchange."""
        bots = folder / "bots.toml"
        text = (ROOT / "bots.toml").read_text()
        bots.write_text(text.replace("strategies.shortseller.strategy:ShortSeller", "tests.support.toy_bot:Toy"))
        keys = {name: value for bot in BOTS for name, value in bot.environment().items()}
        stack = cls()
        for role, (user, arguments, more, holder) in _ROLES.items():
            variables = {**environment, **keys, "POSTGRES_USER": user, "HEALTH_PORT": "0", **more}
            variables["ALPHA_BOTS_FILE"] = str(bots if role == "bot" else ROOT / "bots.toml")
            working = Process(role, ["-m", "tests.support.stepped_clock", *arguments], variables, folder)
            # The proxy tells two instances apart by the name under which they know it.
            spare = working.twin(
                f"{role}-spare", BYBIT_REST_URL=environment["BYBIT_REST_URL"].replace("127.0.0.1", "localhost")
            )
            stack.services[role] = Service(role, working, spare, holder)
        return stack

    def start(self, *roles: str) -> None:
        """Start one instance of each of these, or of all."""
        for service in self.services.values():
            if not roles or service.role in roles:
                service.working.start()

    def stop(self, *roles: str) -> None:
        """Kill these, or all."""
        for service in self.services.values():
            if not roles or service.role in roles:
                service.working.kill()
                service.spare.kill()

    def alive(self) -> list[str]:
        """Restart who has ended; what is wrong with how it ended."""
        return [fault for service in self.services.values() for fault in service.alive()]

    def doubled(self, rows: list[dict[str, Any]]) -> list[str]:
        """Entries of the bot that did not open from flat, in the exchange's own ledger; `rows` are the new ones."""
        faults = []
        for row in rows:
            symbol, link = row["symbol"], parse_order_link_id(row["orderLinkId"])
            before = self._book.get(symbol, Decimal(0))
            if (
                link is not None
                and link.reason is Reason.ENTRY
                and before
                and self._opened_by.get(symbol) != row["orderId"]
            ):
                faults.append(f"doubled: the bot entered {symbol} a second time: {row['orderLinkId']} at {before}")
            if row["execType"] in {"Funding", "Settle"}:
                continue
            if not before:
                self._opened_by[symbol] = row["orderId"]
            self.after = row["n"]
            qty = Decimal(row["execQty"])
            self._book[symbol] = before + (qty if row["side"] == "Buy" else -qty)
        return faults
