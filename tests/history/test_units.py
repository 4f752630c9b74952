"""Fills of one match, legs, checkpoints and Bybit's own P&L: figures calculated by hand."""

import asyncio
import random
from datetime import timedelta
from decimal import Decimal

import pytest
from msgspec import structs

from alpha.config.services import DatabaseSettings
from alpha.postgres.database import Connection, connect, fetch_one
from alpha.postgres.fills import Fill, insert_fills, recompute_pending
from alpha.postgres.ledger import rebuild, verify
from tests.history.build import START, fill, new_account
from tests.history.compare import expected, stored
from tests.history.reference import books
from tests.support.fill_generator import some_fills

D = Decimal


def through_zero(account: int, first_id: str, second_id: str, *, told: bool = True) -> list[Fill]:
    """Long 1 at 100; one order sells 1 at 99, which closes, and 1 at 98, which opens; 1 is bought back at 90."""
    return [
        fill(0, "Buy", "1", "100", account_id=account, closed="0"),
        fill(1, "Sell", "1", "99", account_id=account, closed="1" if told else None, exec_id=first_id, reason="signal"),
        fill(
            1, "Sell", "1", "98", account_id=account, closed="0" if told else None, exec_id=second_id, reason="signal"
        ),
        fill(2, "Buy", "1", "90", account_id=account, closed="1", reason="take_profit"),
    ]


async def figures(owner: Connection) -> list[tuple[object, ...]]:
    """Direction, entry, exit and gross of each round trip."""
    rows = await owner.fetch(
        "SELECT direction, entry_price, exit_price, gross FROM trading.position_summaries ORDER BY closed_at, opened_at"
    )
    return [tuple(row) for row in rows]


TRUE: list[tuple[object, ...]] = [("long", 100, 99, -1), ("short", 98, 90, 8)]


@pytest.mark.parametrize("ids", [("a", "b"), ("b", "a")])
async def test_what_closed_comes_first_whatever_the_ids_are(owner: Connection, ids: tuple[str, str]) -> None:
    await insert_fills(owner, through_zero(await new_account(owner), *ids))
    assert await figures(owner) == TRUE


async def test_a_fill_whose_closed_size_rest_does_not_tell_comes_after_what_is_known_to_close(
    owner: Connection,
) -> None:
    fills = through_zero(await new_account(owner), "b", "a")
    fills[2] = structs.replace(fills[2], closed_size=None)
    await insert_fills(owner, fills)
    assert await figures(owner) == TRUE


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 1, 3), (3, 2, 1, 0), (1, 3, 2, 0)])
async def test_a_match_that_comes_in_parts_is_put_together(owner: Connection, order: tuple[int, ...]) -> None:
    fills = through_zero(await new_account(owner), "b", "a")
    for number in order:
        await insert_fills(owner, [fills[number]])
    assert await figures(owner) == TRUE


async def test_a_closed_size_that_is_told_later_puts_its_match_in_order(owner: Connection) -> None:
    account = await new_account(owner)
    await insert_fills(owner, through_zero(account, "b", "a", told=False))
    assert await figures(owner) == [("long", 100, 98, -2), ("short", 99, 90, 9)]
    more = fill(3, "Buy", "1", "80", account_id=account, closed="0")
    await insert_fills(owner, [*through_zero(account, "b", "a")[1:3], more])
    assert await figures(owner) == TRUE
    assert not await owner.fetchval("SELECT bool_or(provisional) FROM trading.position_summaries")
    assert await stored(owner, account, "BTCUSDT") == expected(books([*through_zero(account, "b", "a"), more]))


async def test_each_next_fill_fits_the_position(owner: Connection) -> None:
    """Position 2: the fill of 1 closes, the fill of 3 closes 1 and opens 2, the opening fill comes last."""
    account = await new_account(owner)
    fills = [
        fill(0, "Buy", "2", "100", account_id=account),
        fill(1, "Sell", "1", "99", account_id=account, exec_id="c", closed="0"),
        fill(1, "Sell", "3", "98", account_id=account, exec_id="a", closed="1"),
        fill(1, "Sell", "1", "97", account_id=account, exec_id="b", closed="1"),
    ]
    await insert_fills(owner, fills)
    assert await figures(owner) == [("long", 100, D("97.5"), -5)]
    state = await fetch_one(owner, "SELECT qty, entry_price FROM trading.open_positions")
    assert tuple(state) == (3, round(D(98 * 2 + 99) / 3, 10))


async def test_what_does_not_fit_the_position_waits_for_what_opens_it(owner: Connection) -> None:
    """Both sides in one match, as in a self-trade: a fill cannot close before the opening one."""
    account = await new_account(owner)
    await insert_fills(
        owner,
        [
            fill(0, "Sell", "1", "101", account_id=account, exec_id="a", closed="1"),
            fill(0, "Buy", "1", "100", account_id=account, exec_id="b", closed="0"),
        ],
    )
    assert await figures(owner) == [("long", 100, 101, 1)]


async def test_a_late_fill_does_not_begin_inside_a_match(owner: Connection) -> None:
    """The long ends within a match that opens a short: that is not a flat point."""
    account = await new_account(owner)
    fills = through_zero(account, "a", "b")
    late = fill(1.5, "Sell", "1", "97", account_id=account, closed="0")
    await insert_fills(owner, fills)
    await insert_fills(owner, [late])
    assert await stored(owner, account, "BTCUSDT") == expected(books([*fills, late]))
    assert await owner.fetchval("SELECT array_agg(ends_flat) FROM trading.round_trips") == [False]


async def test_matches_of_two_symbols_with_the_same_number_are_two(owner: Connection) -> None:
    account = await new_account(owner)
    await insert_fills(owner, [fill(0, "Buy", "1", "100", account_id=account)])
    await insert_fills(
        owner,
        [
            fill(1, "Sell", "1", "99", account_id=account, closed="1"),
            fill(1, "Sell", "1", "50", account_id=account, closed="0", symbol="ETHUSDT"),
        ],
    )
    assert await owner.fetchval("SELECT ends_flat FROM trading.round_trips")


async def test_the_legs_of_a_symbol_are_apart(owner: Connection, history_settings: DatabaseSettings) -> None:
    account = await new_account(owner)
    fills = [
        fill(0, "Buy", "1", "100", account_id=account, leg="long"),
        fill(1, "Sell", "2", "100", account_id=account, leg="short"),
        fill(1.5, "Sell", "2", "100", account_id=account, leg="short", exec_type="Funding", fee="-1"),
        fill(2, "Sell", "1", "103", account_id=account, leg="long", exec_id="x"),
        fill(2, "Buy", "1", "103", account_id=account, leg="short", exec_id="y"),
    ]
    for batch in (fills[:2], fills[3:], fills[2:3]):
        await insert_fills(owner, batch)
    rows = await owner.fetch("SELECT leg, direction, gross FROM trading.position_summaries")
    assert [tuple(row) for row in rows] == [("long", "long", 3)]
    rows = await owner.fetch("SELECT leg, direction, qty, realised_gross, funding FROM trading.open_positions")
    assert [tuple(row) for row in rows] == [("short", "short", 1, -3, 1)]
    assert await owner.fetchval("SELECT gross FROM trading.bot_daily_performance") == 0
    assert (await verify(history_settings, lambda fills: None)).differences == []
    assert await rebuild(history_settings, lambda fills: None) == 2
    assert (await verify(history_settings, lambda fills: None)).differences == []


async def test_a_usdc_contract_is_kept_in_its_coin(owner: Connection) -> None:
    account = await new_account(owner)
    await insert_fills(
        owner,
        [fill(n, side, "1", "100", account_id=account, symbol="BTCPERP") for n, side in enumerate(("Buy", "Sell"))],
    )
    for table in ("round_trips", "position_states", "daily_totals", "daily_exits"):
        assert await owner.fetchval(f"SELECT settle_coin FROM trading.{table}") == "USDC"


ISSUES = "SELECT subject, state, ours ->> 'gross', theirs ->> 'exec_pnl', ours ->> 'fills' FROM trading.reconciliation_issues ORDER BY 1"


async def test_bybits_pnl_of_a_fill_is_compared_at_once(owner: Connection) -> None:
    account = await new_account(owner)
    rows = through_zero(account, "b", "a")
    right = [structs.replace(row, exec_pnl=D(pnl)) for row, pnl in zip(rows, ("0", "-1", "0", "8"), strict=True)]
    await insert_fills(owner, right[:3])
    assert await owner.fetch(ISSUES) == []
    await insert_fills(owner, [structs.replace(right[3], exec_pnl=D("8.5"))])
    assert [tuple(row) for row in await owner.fetch(ISSUES)] == [
        (f"BTCUSDT:{right[3].exec_id}", "open", "8", "8.5", right[3].exec_id)
    ]


async def test_bybits_pnl_that_the_stream_tells_later_is_compared_too(owner: Connection) -> None:
    account = await new_account(owner)
    rows = through_zero(account, "b", "a")
    await insert_fills(owner, rows)
    await insert_fills(owner, [structs.replace(rows[1], exec_pnl=D("-2")), structs.replace(rows[3], exec_pnl=D("8"))])
    assert [tuple(row) for row in await owner.fetch(ISSUES)] == [("BTCUSDT:b", "open", "-1", "-2", "a b")]


async def test_a_difference_that_a_missing_fill_made_is_settled_when_it_comes(owner: Connection) -> None:
    account = await new_account(owner)
    fills = [
        fill(0, "Buy", "1", "100", account_id=account),
        fill(1, "Buy", "1", "110", account_id=account),
        fill(2, "Sell", "1", "120", account_id=account, exec_pnl="15"),
    ]
    await insert_fills(owner, [fills[0], fills[2]])
    assert await owner.fetchval("SELECT state FROM trading.reconciliation_issues") == "open"
    await insert_fills(owner, [fills[1]])
    assert await owner.fetchval("SELECT state FROM trading.reconciliation_issues") == "resolved"


async def test_a_late_fill_begins_at_the_checkpoint_of_the_day_before(owner: Connection) -> None:
    """A position that is never flat: only the days from the late fill on are recomputed."""
    account = await new_account(owner)
    rows = [fill(day * 1440, "Buy", "1", str(100 + day), account_id=account) for day in range(30)]
    await insert_fills(owner, rows)
    assert await owner.fetchval("SELECT count(*) FROM trading.checkpoints") == 29
    kept = "SELECT place_time, xmin::text FROM trading.checkpoints WHERE place_time < $1 ORDER BY 1"
    before = await owner.fetch(kept, START + timedelta(days=25))
    late = fill(25 * 1440 + 5, "Sell", "1", "130", account_id=account)
    await insert_fills(owner, [late])
    assert await owner.fetch(kept, START + timedelta(days=25)) == before
    assert await stored(owner, account, "BTCUSDT") == expected(books([*rows, late]))


async def test_a_recomputation_goes_on_while_fills_come_late_and_new(
    owner: Connection, history_settings: DatabaseSettings
) -> None:
    account = await new_account(owner)
    rows = some_fills(9, 6_000, account)
    rng = random.Random(4)
    late = set(rng.sample(range(5_000), 40))
    await insert_fills(owner, [row for number, row in enumerate(rows[:5_000]) if number not in late])
    await owner.execute("SELECT trading.mark_for_recompute($1, 'linear', 'BTCUSDT', 'both')", account)

    async def recompute() -> None:
        connection = await connect(history_settings, "tests")
        while not await connection.fetchval(
            "SELECT done FROM trading.recompute_ledger_step($1, 'linear', 'BTCUSDT', 'both', 200)", account
        ):
            pass
        await connection.close()

    async def come() -> None:
        for number in sorted(late, reverse=True):
            await insert_fills(owner, [rows[number]])
        for begin in range(5_000, 6_000, 50):
            await insert_fills(owner, rows[begin : begin + 50])

    await asyncio.gather(recompute(), come())
    await recompute_pending(owner)
    assert await stored(owner, account, "BTCUSDT") == expected(books(rows))
    assert (await verify(history_settings, lambda fills: None)).differences == []


async def test_a_page_of_a_replay_ends_with_a_match(owner: Connection) -> None:
    account = await new_account(owner)
    await insert_fills(owner, through_zero(account, "b", "a"))
    first = "trading.first_state($1, 'linear', 'BTCUSDT', 'both', 'shortseller_001')"
    step = f"SELECT replayed FROM trading.replay_fills(ARRAY[{first}], $2, NULL, NULL, NULL, NULL, NULL)"
    assert [await owner.fetchval(step, account, limit) for limit in (1, 2, 3, 4)] == [1, 3, 3, 4]


async def test_a_wrong_checkpoint_is_found_and_mended(owner: Connection, history_settings: DatabaseSettings) -> None:
    await insert_fills(owner, some_fills(2, 500, await new_account(owner)))
    await owner.execute(
        "UPDATE trading.checkpoints SET cost = cost + 1 WHERE place_time = (SELECT max(place_time) FROM trading.checkpoints)"
    )
    (difference,) = (await verify(history_settings, lambda fills: None)).differences
    assert "1 checkpoints are wrong" in difference
    await rebuild(history_settings, lambda fills: None)
    assert (await verify(history_settings, lambda fills: None)).differences == []
