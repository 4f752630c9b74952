"""The pages of a history together contain each row exactly once, newest first."""

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exchange_simulator.engine.model import ClosedPnl, Execution, LedgerLine, Order, Rules
from exchange_simulator.storage import Query, Storage
from exchange_simulator.tests.engine.test_properties import ACTIONS, PHASES, run

TABLES: dict[str, tuple[type[Any], Callable[[Any], tuple[int, str]]]] = {
    "executions": (Execution, lambda row: (row.time_ms, row.exec_id)),
    "orders": (Order, lambda row: (row.created_ms, row.order_id)),
    "closed_pnl": (ClosedPnl, lambda row: (row.created_ms, f"{row.order_id} {row.exit_value}")),
    "ledger": (LedgerLine, lambda row: (row.time_ms, row.line_id)),
}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=PHASES, derandomize=True)
@given(st.lists(ACTIONS, min_size=20, max_size=60), st.integers(1, 9), st.integers(0, 3))
def test_pages_hold_each_row_once_newest_first(actions: list[tuple[Any, ...]], size: int, late: int) -> None:
    told = run(Rules(), "40000", actions).floor.told
    storage = Storage(None)
    try:
        split = len(told) * late // 4
        storage.record(told[split:])
        for table, (kind, key) in TABLES.items():
            for uid in (1, 2):
                expected = {
                    key(event)
                    for event in told[split:]
                    if isinstance(event, kind) and event.uid == uid and not (kind is Order and event.open)
                }
                seen: list[tuple[int, str]] = []
                after: tuple[int, int] | None = None
                while True:
                    page = storage.page(table, Query(uid=uid, limit=size, after=after), kind)
                    assert len(page.rows) <= size
                    seen += [key(row) for row in page.rows]
                    assert len(seen) <= len(expected), "a row has come twice"
                    if not page.cursor:
                        break
                    after = tuple(map(int, page.cursor.split("%3A")))  # type: ignore[assignment]
                assert len(seen) == len(set(seen))
                assert set(seen) == expected
                times = [time_ms for time_ms, _ in seen]
                assert times == sorted(times, reverse=True)
    finally:
        storage.close()
