"""What must hold, whatever is done to the system. Each breach is one sentence."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from alpha.bybit.reads import LINEAR
from alpha.live_state.connect import REDIS_UNAVAILABLE
from alpha.live_state.freshness import VALID_S
from alpha.live_state.read import DataState, read_status
from alpha.model.order_link import parse_order_link_id
from tests.simulation.exchange import ADVANCE_S, SPEED, SYMBOLS, Accepted
from tests.simulation.redis_store import RedisClient
from tests.simulation.virtual_loop import EPOCH_S
from tests.simulation.world import BOT, World

TAG = "ss"
BOT_LEASES = "trading.bot_leases"
GUARD_LEASE = "trading.guard_lease"
#: A patrol of 5 s, 30 s for a recheck, a takeover, slow calls.
UNPROTECTED_S = 5.0 + 30.0
#: What is on its way to PostgreSQL and Redis when a look is taken.
_UNDER_WAY_S = 0.5
#: What a bot is paused for at its start where an account has traded and nothing of it is saved.
_NO_STATE = "this account has traded before, but there is no saved state of it"


@dataclass(slots=True)
class Invariants:
    """Looks at a world again and again, and once more at its end."""

    world: World
    breaches: list[str] = field(default_factory=list)
    looks: int = 0
    synced_looks: int = 0
    most_unprotected_s: float = 0.0
    _taken: list[tuple[float, str, int]] = field(default_factory=list)
    _bare_since: dict[str, float] = field(default_factory=dict)
    _differs_since: float | None = None
    _checked: int = 0
    _reader: Any = None

    def __post_init__(self) -> None:
        self.world.postgres.taken = self._lease_taken
        self.world.venue.on_order = self._accepted
        # The reader that the product gives to everybody, over a line of its own that never fails.
        self._reader = RedisClient(self.world.redis, 0)

    def breach(self, text: str) -> None:
        """Note it, once."""
        line = f"{self.world.loop.now_s:.3f} s: {text}"
        if not any(text == known.split(": ", 1)[1] for known in self.breaches):
            self.breaches.append(line)
            self.world.say(f"BREACH {text}")

    # --- orders ----------------------------------------------------------------------------------------------------

    def _lease_taken(self, table: str, key: Any, holder: str, token: int) -> None:
        self._taken.append((self.world.loop.now_s, table, token))

    def _accepted(self, order: Accepted) -> None:
        """An order was accepted: whoever sent it must hold the account, and what it opened must have been flat."""
        if not order.opens:
            return
        now_s, body = self.world.loop.now_s, order.body
        link = parse_order_link_id(body.get("orderLinkId", ""))
        if link is None or link.tag != TAG:
            return
        later = [token for _, table, token in self._taken if table == BOT_LEASES and token > order.token]
        if later:
            self.breach(f"{order.process} opened {body['symbol']} under {order.token} after {later[0]} was taken")
        row = self.world.postgres.leases.get((BOT_LEASES, 1))
        if row is None or row["expires_at"].timestamp() < EPOCH_S + now_s:
            self.breach(f"{order.process} opened {body['symbol']} although its lease had expired")
        if body["symbol"] in order.held:
            self.breach(f"{order.process} opened {body['symbol']} a second time")
        if body["orderLinkId"] not in self.world.postgres.recorded:
            self.breach(f"{order.process} opened {body['symbol']} without having recorded why")
        if not body.get("stopLoss"):
            self.breach(f"{order.process} opened {body['symbol']} without a stop")

    # --- while it runs ---------------------------------------------------------------------------------------------

    async def look(self) -> None:
        """One look at everything that must hold at every moment."""
        self.looks += 1
        self._protected()
        try:
            status = await read_status(self._reader, BOT, patience_s=0.0)
        except REDIS_UNAVAILABLE:
            return
        if status is None or status.state is not DataState.SYNCED or status.age_s is None:
            self._differs_since = None
            return
        self.synced_looks += 1
        self._stored_before(self.world.loop.now_s - status.age_s)
        self._live_state_is_true()

    def _protected(self) -> None:
        now_s, account = self.world.loop.now_s, self.world.venue.account
        bare = {position.symbol for position in account.held() if not self.world.venue.stopped(position.symbol)}
        self._bare_since = {symbol: self._bare_since.get(symbol, now_s) for symbol in sorted(bare)}
        for symbol, since_s in self._bare_since.items():
            self.most_unprotected_s = max(self.most_unprotected_s, now_s - since_s)
            if now_s - since_s > UNPROTECTED_S:
                self.breach(f"{symbol} was without a stop for more than {UNPROTECTED_S:g} s")

    def _stored_before(self, audited_s: float) -> None:
        """What happened before the audit began is in PostgreSQL."""
        stored = {exec_id for _, _, _, exec_id in self.world.postgres.fills}
        for row in self.world.venue.executions():
            if self._at_s(row) < audited_s - _UNDER_WAY_S and row.exec_id not in stored:
                self.breach(f"synced, and the execution {row.exec_id} of {self._at_s(row):.1f} s is not stored")

    def _live_state_is_true(self) -> None:
        """A difference that nobody notices lasts one beat at most."""
        now_s = self.world.loop.now_s
        if self.differences() == []:
            self._differs_since = None
        elif self._differs_since is None:
            self._differs_since = now_s
        elif now_s - self._differs_since > VALID_S:
            self.breach(f"synced for {VALID_S:g} s with {self.differences()[0]}")

    def _at_s(self, row: Any) -> float:
        """The latest virtual time at which an execution can have happened: business time moves in steps."""
        return float((row.time_ms - self.world.venue.start_ms) / 1000 / SPEED + ADVANCE_S)

    def differences(self) -> list[str]:
        """Live state against the exchange."""
        account, reader = self.world.venue.account, self._reader
        found = []
        for symbol in SYMBOLS:
            known = reader._hgetall(f"position:{BOT}:{symbol}")
            signed = Decimal(known.get("size") or 0) * (-1 if known.get("side") == "Sell" else 1)
            held = sum((position.size for position in account.held() if position.symbol == symbol), Decimal(0))
            if signed != held:
                found.append(f"{symbol} {signed} in Redis and {held} on the exchange")
        orders, listed = set(reader._hgetall(f"orders:{BOT}")), set(account.orders)
        if orders != listed:
            found.append(
                f"orders {sorted(orders - listed)} only in Redis, {sorted(listed - orders)} only on the exchange"
            )
        return found

    # --- at the end ------------------------------------------------------------------------------------------------

    def unsettled(self) -> list[str]:
        """What is not as it must be once nothing has happened for a while."""
        world, found = self.world, []
        ledger = {row.exec_id: row for row in world.venue.executions()}
        stored = {exec_id: row for (_, category, _, exec_id), row in world.postgres.fills.items() if category == LINEAR}
        found += [f"the execution {exec_id} is lost" for exec_id in ledger.keys() - stored.keys()]
        found += [f"the execution {exec_id} was invented" for exec_id in stored.keys() - ledger.keys()]
        for exec_id in sorted(ledger.keys() & stored.keys()):
            theirs, ours = ledger[exec_id], stored[exec_id]
            for name in ("price", "qty", "value", "fee"):
                if Decimal(ours[name]) != getattr(theirs, name):
                    found.append(f"{exec_id} has the {name} {ours[name]}, not {getattr(theirs, name)}")
        found += self.differences()
        if world.redis.databases.get(0, {}).get(f"status:{BOT}", {}).get("state") != DataState.SYNCED:
            found.append("live state is not synced")
        state = {name: row["state"] for (_, name), row in world.postgres.state.items()}
        runtime, positions = state.get("runtime", {}), state.get("positions", {})
        held = {position.symbol: position for position in world.venue.account.held()}
        paused = runtime.get("paused")
        if paused and not (world.postgres.lost_first_state and paused == _NO_STATE):
            halts = "; ".join(f"{halt['reason']} by {halt['created_by']}" for halt in world.postgres.halts)
            found.append(f"the bot is paused: {paused}" + (f" (halted: {halts})" if halts else ""))
        if runtime.get("entries") or runtime.get("exits"):
            found.append(f"orders are under way: {[*runtime['entries'], *runtime['exits']]}")
        if positions.keys() != held.keys():
            found.append(f"the bot knows {sorted(positions)}, and the exchange holds {sorted(held)}")
        for symbol in positions.keys() & held.keys():
            if Decimal(positions[symbol]["size"]) != abs(held[symbol].size):
                found.append(f"{symbol}: the bot knows {positions[symbol]['size']}, the exchange {held[symbol].size}")
        return found
