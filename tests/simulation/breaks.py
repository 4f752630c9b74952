"""Faults put into the product on purpose: each invariant must go red when the code that upholds it is broken."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import websocket_listener.backfill
import websocket_listener.postgres_writer
from alpha.lease import Act, Lease
from alpha.live_state.freshness import Beats
from alpha.postgres.fills import InsertResult
from bot_runner.entries import Entries
from bot_runner.position_reconciler import PositionReconciler
from bot_runner.state_persistence import StatePersistence
from bot_runner.trader import Trader
from risk_guard.stop_check import StopCheck
from tests.simulation.schedule import Disturbance
from websocket_listener.status import BotStatus


async def _insert_nothing(_connection: Any, rows: Any) -> InsertResult:
    return InsertResult(len(list(rows)), 0)


async def _nothing(*_: Any, **__: Any) -> None:
    return None


async def _as_it_is(_reconciler: Any, look: Any) -> Any:
    return look


async def _forget_entries(entries: Any) -> None:
    entries._journal.runtime.entries.clear()


def _in_batch(kind: str, for_s: float) -> list[list[Disturbance]]:
    """The bot is struck in the middle of its first orders, at this moment or that; a second one waits."""
    spare = Disturbance(0, 1.0, "second instance")
    return [[spare, Disturbance(1, 4.1 + step * 0.1, kind, "bot", for_s)] for step in range(12)]


#: By name: what a breach says, what is put in place of what, and what is done to the system.
BREAKS: dict[str, tuple[str, list[tuple[Any, str, Any]], list[list[Disturbance]]]] = {
    "backfill stores nothing": (
        "is lost",
        [(websocket_listener.backfill, "insert_fills", _insert_nothing)],
        [[Disturbance(0, 3.0, "pushes lost", "", 30.0, 0.8)]],
    ),
    "a fenced bot may send": (
        "was taken",
        [
            (Lease, "window_ms", lambda _lease, _act, most_ms: most_ms),
            (Lease, "ready", _nothing),
            (Lease, "check", lambda _lease, _act=Act.CHANGE: None),
        ],
        _in_batch("freeze", 6.0),
    ),
    "what a lost bot has sent is not looked for": (
        "a second time",
        [
            (Entries, "resolve", _forget_entries),
            (PositionReconciler, "reconcile", _as_it_is),
            (Trader, "_may_grow", lambda *_: True),
        ],
        _in_batch("crash", 0.3),
    ),
    "a counter that stands is believed": (
        "synced",
        [(Beats, "age_s", lambda _beats, _now_ms: 0.0)],
        [[Disturbance(0, 3.0, "freeze", "listener", 30.0)]] * 6,
    ),
    "gaps are not noted": (
        "synced",
        [
            (BotStatus, "gap", lambda *_: None),
            (websocket_listener.postgres_writer, "insert_fills", _insert_nothing),
            (websocket_listener.backfill, "insert_fills", _insert_nothing),
        ],
        [[]],
    ),
    "nobody looks at stops": (
        "without a stop",
        [(StopCheck, "walk", _nothing), (Trader, "_check_stops", _nothing)],
        [[Disturbance(0, at_s, "stop removed")] for at_s in (6.0, 7.0)] * 8,
    ),
    "reasons are not recorded": ("recorded why", [(StatePersistence, "note_intent", lambda *_: None)], [[]]),
    "positions are not compared": (
        "the bot knows",
        [(PositionReconciler, "reconcile", _as_it_is)],
        [[Disturbance(0, 36.0, "stop hit", "", 0.0, 1.0)]] * 4,
    ),
}


@contextmanager
def broken(name: str) -> Iterator[None]:
    """The product with this fault in it."""
    put = BREAKS[name][1]
    kept = [(owner, attribute, owner.__dict__[attribute]) for owner, attribute, _ in put]
    for owner, attribute, value in put:
        setattr(owner, attribute, value)
    try:
        yield
    finally:
        for owner, attribute, value in kept:
            setattr(owner, attribute, value)
