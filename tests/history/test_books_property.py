"""The incremental ledger equals the full recomputation exactly, in whatever order fills arrive."""

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from alpha.postgres.database import Connection
from alpha.postgres.fills import Fill, insert_fills
from tests.history.compare import expected, stored
from tests.history.reference import CHANGES_POSITION, Opening, books

START = datetime(2025, 6, 1, 22, tzinfo=UTC)
BOT = "shortseller_001"
_accounts = itertools.count(1)

amounts = st.decimals(min_value="0.001", max_value="50000", places=3)
#: Few distinct quantities make flat points and reversals common.
quantities = st.one_of(st.sampled_from([Decimal(1), Decimal(2), Decimal("0.5"), Decimal(3)]), amounts)


@st.composite
def fills_of_one_symbol(draw: st.DrawFn, most: int = 40) -> list[Fill]:
    """Fills in time order; several share millisecond and `seq`, like those of one match, with random ids.

    The closed size of each is as the exchange would report it, unknown, or (rarely) wrong.
    """
    found: list[Fill] = []
    moment_ms = 0
    seq = 1
    held = Decimal(0)
    for number in range(draw(st.integers(1, most))):
        step_ms = draw(st.sampled_from([0, 0, 0, 1, 250, 3_600_000, 20_000_000]))
        moment_ms += step_ms
        seq += draw(st.sampled_from([0, 0, 1])) if step_ms == 0 else 1
        exec_type = draw(st.sampled_from(["Trade"] * 8 + ["Funding", "BustTrade", "AdlTrade", "SessionSettlePnL"]))
        price, qty, side = draw(amounts), draw(quantities), draw(st.sampled_from(["Buy", "Sell"]))
        if held != 0 and draw(st.integers(0, 2)) == 0:
            qty, side = abs(held), "Sell" if held > 0 else "Buy"
        closed = Decimal(0)
        if exec_type in CHANGES_POSITION:
            signed = qty if side == "Buy" else -qty
            closed = min(abs(held), qty) if held * signed < 0 else Decimal(0)
            held += signed
        found.append(
            Fill(
                account_id=0, bot_id=BOT, category="linear", symbol="BTCUSDT",
                exec_id=f"{draw(st.sampled_from('aZ-9é'))}{number}",
                order_id="o", order_link_id=None, side=side, exec_type=exec_type,
                reason=draw(st.sampled_from(["entry", "take_profit", "stop_loss", "signal"])),
                price=price, qty=qty, value=price * qty,
                fee=draw(st.decimals(min_value="-3", max_value="9", places=8)), fee_currency="USDT",
                closed_size=draw(st.sampled_from([closed] * 6 + [None, None, Decimal(0), qty])), exec_pnl=None,
                extra_fees=None, is_maker=draw(st.booleans()),
                seq=seq, exec_time=START + timedelta(milliseconds=moment_ms), received_at=START,
            )
        )  # fmt: skip
    return found


@st.composite
def arrivals(draw: st.DrawFn) -> list[list[Fill]]:
    """The fills split into batches; some batches arrive late, some fills twice."""
    fills = draw(fills_of_one_symbol())
    late = draw(st.sets(st.integers(0, len(fills) - 1), max_size=5))
    if draw(st.booleans()):
        first = [fill for number, fill in enumerate(fills) if number not in late]
        order = first + [fills[number] for number in draw(st.permutations(sorted(late)))]
    else:
        order = draw(st.permutations(fills)) if draw(st.booleans()) else fills
    batches: list[list[Fill]] = []
    while order:
        size = draw(st.integers(1, 12))
        batches.append(list(order[:size]))
        order = order[size:]
    if draw(st.booleans()):
        # read over REST first, where the closed size may be missing; later pushed by the stream, in any order
        told = draw(st.permutations(fills))
        cut = draw(st.integers(0, len(told)))
        batches = [[structs.replace(fill, closed_size=None) for fill in batch] for batch in batches]
        batches += [part for part in (told[:cut], told[cut:]) if part]
    if draw(st.booleans()):
        batches.append(list(draw(st.sampled_from(batches))))
    return batches


def known(stored_fills: dict[tuple[int, str, str, str], Fill], fill: Fill) -> None:
    """The stored row after this fill arrived: null fields are filled in."""
    seen = stored_fills.setdefault(fill.key, fill)
    if seen.closed_size is None:
        stored_fills[fill.key] = fill


async def account(connection: Connection) -> int:
    """A new account of the bot."""
    number: int = await connection.fetchval(
        "SELECT trading.register_account('simulated', $1, $2)", f"property-{next(_accounts)}", BOT
    )
    return number


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=arrivals())
async def test_fills_in_any_order_and_any_batches_give_the_books_of_the_reference(
    owner: Connection, batches: list[list[Fill]]
) -> None:
    number = await account(owner)
    unique: dict[tuple[int, str, str, str], Fill] = {}
    for batch in batches:
        rows = [structs.replace(fill, account_id=number) for fill in batch]
        await insert_fills(owner, rows)
        for fill in rows:
            known(unique, fill)
    assert await stored(owner, number, "BTCUSDT") == expected(books(unique.values()))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=arrivals(),
    side=st.sampled_from(["Buy", "Sell"]),
    qty=quantities,
    entry_price=amounts,
    recorded_first=st.booleans(),
)
async def test_an_opening_counts_as_the_first_entry_whenever_it_is_recorded(
    owner: Connection, batches: list[list[Fill]], side: str, qty: Decimal, entry_price: Decimal, recorded_first: bool
) -> None:
    number = await account(owner)
    opening = Opening(side, qty, entry_price, START - timedelta(hours=1))

    async def record() -> None:
        await owner.execute(
            "INSERT INTO trading.opening_positions (account_id, category, symbol, side, qty, entry_price, as_of) "
            "VALUES ($1, 'linear', 'BTCUSDT', $2, $3, $4, $5)",
            number,
            opening.side,
            opening.qty,
            opening.entry_price,
            opening.as_of,
        )

    if recorded_first:
        await record()
    unique: dict[tuple[int, str, str, str], Fill] = {}
    for batch in batches:
        rows = [structs.replace(fill, account_id=number) for fill in batch]
        await insert_fills(owner, rows)
        for fill in rows:
            known(unique, fill)
    if not recorded_first:
        await record()
    assert await stored(owner, number, "BTCUSDT") == expected(books(unique.values(), opening))
