"""Matches as the exchange makes them: what the ledger says of them equals what the exchange booked, whatever arrives when.

The exchange here is a model of its own: it fills orders one after the other and shares no code with the ledger, the
reference or the rule by which they order a match.
"""

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from alpha.postgres.database import Connection
from alpha.postgres.fills import Fill, insert_fills, recompute_pending
from tests.history.compare import expected, stored
from tests.history.reference import EXACT, books

START = datetime(2025, 6, 1, 22, tzinfo=UTC)
BOT = "shortseller_001"
ZERO = Decimal(0)
#: What cutting after 12 decimals may come to over all closes of an example.
CLOSE = Decimal("0.000001")
_accounts = itertools.count(1)

prices = st.decimals(min_value="0.5", max_value="50000", places=2)
quantities = st.one_of(
    st.sampled_from([Decimal(1), Decimal(2), Decimal("0.5")]), st.decimals(min_value="0.001", max_value="40", places=3)
)


@dataclass
class Venue:
    """One position, and its trips as the exchange books them."""

    held: Decimal = ZERO
    entry: Decimal = ZERO
    trips: list[tuple[bool, Decimal]] = field(default_factory=list)
    _gross: Decimal = ZERO

    def fill(self, signed: Decimal, price: Decimal) -> tuple[Decimal, Decimal]:
        """Execute; the closed size and the profit or loss of what was closed."""
        closed = min(abs(self.held), abs(signed)) if self.held * signed < 0 else ZERO
        is_long = self.held > 0
        pnl = (price - self.entry) * (closed if is_long else -closed)
        self._gross += pnl
        rest = abs(signed) - closed
        if closed and closed == abs(self.held):
            self.trips.append((is_long, self._gross))
            self._gross, self.entry = ZERO, price
        elif not closed:
            self.entry = (self.entry * abs(self.held) + price * rest) / (abs(self.held) + rest)
        self.held += signed
        return closed, pnl


@dataclass(frozen=True)
class Flow:
    """Fills of one account with random ids, how they arrive, and what the exchange has booked."""

    fills: list[Fill]
    batches: list[list[Fill]]
    venue: Venue


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    """Orders that fill over several price levels: each is one match, of one time and one `seq`."""
    venue, fills, moment_ms = Venue(), list[Fill](), 0
    for seq in range(1, draw(st.integers(2, 14))):
        moment_ms += draw(st.sampled_from([0, 0, 1, 250, 40_000_000]))
        buy = draw(st.booleans())
        parts = draw(st.lists(st.tuples(prices, quantities), min_size=1, max_size=4))
        if venue.held and draw(st.booleans()):
            # through zero: what is held, then as much again over further levels
            buy = venue.held < 0
            parts = [(draw(prices), abs(venue.held)), *parts]
        ids = draw(st.permutations([f"{letter}{seq}" for letter in "zAm9q"]))
        for (price, qty), exec_id in zip(parts, ids, strict=False):
            with localcontext(EXACT):
                closed, pnl = venue.fill(qty if buy else -qty, price)
            fills.append(
                Fill(
                    account_id=0, bot_id=BOT, category="linear", symbol="BTCUSDT", exec_id=exec_id, order_id=f"o{seq}",
                    order_link_id=None, side="Buy" if buy else "Sell", exec_type="Trade", reason="signal", price=price,
                    qty=qty, value=price * qty, fee=ZERO, fee_currency="USDT", closed_size=closed,
                    exec_pnl=round(pnl, 8), extra_fees=None, is_maker=False, seq=seq,
                    exec_time=START + timedelta(milliseconds=moment_ms), received_at=START,
                )
            )  # fmt: skip
    order = draw(st.permutations(fills)) if draw(st.booleans()) else list(fills)
    batches = []
    while order:
        size = draw(st.integers(1, 9))
        batches.append(order[:size])
        order = order[size:]
    if draw(st.booleans()):
        # REST first, which does not tell what was closed; the stream, or a later page, does
        told = draw(st.permutations(fills))
        silent = [[structs.replace(fill, closed_size=None, exec_pnl=None) for fill in batch] for batch in batches]
        cut = draw(st.integers(0, len(told)))
        batches = [*silent, *(part for part in (told[:cut], told[cut:]) if part)]
    return Flow(fills, batches, venue)


async def agrees(owner: Connection, account: int, flow: Flow) -> None:
    """Ledger, reference and exchange say the same."""
    found = await stored(owner, account, "BTCUSDT")
    assert found == expected(books(structs.replace(fill, account_id=account) for fill in flow.fills))
    trips = await owner.fetch(
        "SELECT is_long, gross FROM trading.round_trips WHERE account_id = $1 ORDER BY closed_at, closed_seq", account
    )
    assert [row["is_long"] for row in trips] == [is_long for is_long, _ in flow.venue.trips]
    for row, (_, gross) in zip(trips, flow.venue.trips, strict=True):
        assert abs(row["gross"] - gross) < CLOSE
    assert found["held"] == abs(flow.venue.held)
    assert abs(found["cost"] - abs(flow.venue.held) * flow.venue.entry) < CLOSE
    issues = await owner.fetch(
        "SELECT subject, ours, theirs FROM trading.reconciliation_issues WHERE account_id = $1 AND state = 'open'",
        account,
    )
    assert issues == []


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flow=flows(), page=st.integers(1, 5))
async def test_every_match_comes_to_what_the_exchange_booked(owner: Connection, flow: Flow, page: int) -> None:
    account: int = await owner.fetchval(
        "SELECT trading.register_account('simulated', $1, $2)", f"matches-{next(_accounts)}", BOT
    )
    for batch in flow.batches:
        await insert_fills(owner, [structs.replace(fill, account_id=account) for fill in batch])
    await recompute_pending(owner)
    await agrees(owner, account, flow)
    # once more in pages, as after a migration: none may end inside a match
    await owner.execute("SELECT trading.mark_for_recompute($1, 'linear', 'BTCUSDT', 'both')", account)
    step = "SELECT done FROM trading.recompute_ledger_step($1, 'linear', 'BTCUSDT', 'both', $2)"
    while not await owner.fetchval(step, account, page):
        pass
    await agrees(owner, account, flow)
