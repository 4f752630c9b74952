"""The durable state of a bot: six rows of `trading.strategy_state`.

| row | content |
|---|---|
| strategy | the strategy's own state |
| positions | symbol to position: direction, size, entry price, opened when, stop and its meaning, target, trailing |
| limits | references, peak, breaches in force |
| core | the last bar evaluated, cooldowns, entries of the day |
| resting | resting orders: entries and targets, each saved before it is sent |
| runtime | pause, orders under way, starts of the process, order ids sent |
"""

from decimal import Decimal
from typing import TypeVar

import msgspec

from alpha.errors import Misconfigured
from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.base import StrategyState
from alpha.strategy.core import CoreState, EntryOrder
from alpha.strategy.intents import Enter, Notional, Target, Trailing
from alpha.strategy.positions import OwnPosition
from alpha.strategy.resting import RestingOrder
from alpha.strategy.risk_limits import LimitState

SENT_KEPT = 200
T = TypeVar("T")


class PendingEntry(msgspec.Struct):
    """An entry that is about to be sent or whose outcome is not known; saved before it is sent."""

    link_id: str
    symbol: str
    direction: Direction
    qty: Decimal
    price: Decimal
    stop_loss: Decimal
    stop: Decimal
    take_profit: Decimal | None
    trailing_distance: Decimal | None
    trailing_activation: Decimal | None
    bar_ms: int
    close_ms: int
    why: str
    targets: tuple[Target, ...] = ()
    tag: str = ""

    @classmethod
    def of(cls, order: EntryOrder, link_id: str) -> "PendingEntry":
        """The entry of an order of the core."""
        enter = order.enter
        return cls(
            link_id=link_id,
            symbol=enter.symbol,
            direction=enter.direction,
            qty=order.qty,
            price=order.price,
            stop_loss=order.stop_loss,
            stop=enter.stop,
            take_profit=enter.take_profit,
            trailing_distance=None if enter.trailing is None else enter.trailing.distance,
            trailing_activation=None if enter.trailing is None else enter.trailing.activation,
            bar_ms=order.bar_ms,
            close_ms=order.close_ms,
            why=enter.why,
            targets=enter.targets,
            tag=enter.tag,
        )

    def enter(self) -> Enter:
        """The strategy's intent; its size is already in `qty`."""
        trailing = None
        if self.trailing_distance is not None and self.trailing_activation is not None:
            trailing = Trailing(self.trailing_distance, self.trailing_activation)
        return Enter(
            self.symbol,
            self.direction,
            Notional(self.qty * self.price),
            self.stop,
            self.take_profit,
            trailing,
            self.why,
            targets=self.targets,
            tag=self.tag,
        )


class PendingExit(msgspec.Struct):
    """A pending exit: saved before it is sent, retried until the position is closed.

    `decided_ms` is the close of the bar that decided; None for limits and late bars. `unsure`: the order of this
    attempt may have been sent, and what it did is not known.
    """

    reason: Reason
    bar_ms: int
    decided_ms: int | None
    why: str
    attempt: int = 1
    unsure: bool = False


class PendingStop(msgspec.Struct):
    """A stop that is moved and not on the exchange yet; its price and meaning are the position's. Saved before it is sent.

    `decided_ms` is the close of the bar that decided, None for a late one. `levels`: target and trailing stop are not on
    the exchange either.
    """

    bar_ms: int
    decided_ms: int | None
    why: str
    levels: bool = False


class PendingPart(msgspec.Struct):
    """A pending partial exit; `qty` is what remains to be closed. Saved before it is sent."""

    qty: Decimal
    reason: Reason
    bar_ms: int
    why: str
    attempt: int = 1
    unsure: bool = False


class FillCursor(msgspec.Struct):
    """Up to where a symbol's executions are known: from `since_ms` on, the ids that were seen."""

    since_ms: int
    seen: list[str]


class RuntimeState(msgspec.Struct):
    """Persistent state of the runtime. `paused` is the reason for a pause, "" while it runs."""

    paused: str = ""
    entries: dict[str, PendingEntry] = msgspec.field(default_factory=dict)
    exits: dict[str, PendingExit] = msgspec.field(default_factory=dict)
    stops: dict[str, PendingStop] = msgspec.field(default_factory=dict)
    starts_ms: list[int] = msgspec.field(default_factory=list)
    ended_well: bool = True
    transfers_ms: int = 0
    sent: list[str] = msgspec.field(default_factory=list)
    parts: dict[str, PendingPart] = msgspec.field(default_factory=dict)
    cursors: dict[str, FillCursor] = msgspec.field(default_factory=dict)

    def note_sent(self, link_id: str) -> None:
        """Remember the id of an order that is about to be sent."""
        if link_id not in self.sent:
            self.sent = [*self.sent, link_id][-SENT_KEPT:]


class _CoreRow(msgspec.Struct):
    last_bar_ms: int = -1
    cooldown_from_ms: dict[str, int] = msgspec.field(default_factory=dict)
    entries_day_ms: int = -1
    entries: dict[str, int] = msgspec.field(default_factory=dict)


class BotState(msgspec.Struct):
    """All of it."""

    strategy: StrategyState
    core: CoreState
    runtime: RuntimeState

    def rows(self) -> dict[str, object]:
        """The rows as JSON values; amounts are texts."""
        core = self.core
        return {
            "strategy": msgspec.to_builtins(self.strategy),
            "positions": msgspec.to_builtins(core.positions),
            "limits": msgspec.to_builtins(core.limits, str_keys=True),
            "core": msgspec.to_builtins(
                _CoreRow(core.last_bar_ms, core.cooldown_from_ms, core.entries_day_ms, core.entries)
            ),
            "resting": msgspec.to_builtins(core.resting),
            "runtime": msgspec.to_builtins(self.runtime),
        }


def new_state(strategy_type: type[StrategyState]) -> BotState:
    """The state of an account that never traded."""
    return BotState(strategy_type(), CoreState(), RuntimeState())


def read_state(rows: dict[str, object], strategy_type: type[StrategyState]) -> BotState:
    """The state written in rows. Raises Misconfigured, naming the row, when one cannot be read."""
    core = _convert(rows, "core", _CoreRow)
    return BotState(
        strategy=_convert(rows, "strategy", strategy_type),
        core=CoreState(
            last_bar_ms=core.last_bar_ms,
            positions=_convert(rows, "positions", dict[str, OwnPosition]),
            cooldown_from_ms=core.cooldown_from_ms,
            entries_day_ms=core.entries_day_ms,
            entries=core.entries,
            limits=_convert(rows, "limits", LimitState),
            resting=_convert(rows, "resting", dict[str, RestingOrder]),
        ),
        runtime=_convert(rows, "runtime", RuntimeState),
    )


def _convert(rows: dict[str, object], name: str, kind: type[T]) -> T:
    try:
        return msgspec.convert(rows.get(name, {}), kind, str_keys=True)
    except msgspec.ValidationError as fault:
        raise Misconfigured(
            f"trading.strategy_state has a row {name!r} that cannot be read: {fault}. "
            "Restore it from a backup, or remove the bot's rows there and start it paused."
        ) from None
