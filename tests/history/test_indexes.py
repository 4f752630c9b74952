"""Every index serves one of Alpha's queries; there are no unused indexes."""

from alpha.postgres.database import Connection
from operations.analytics import SQL as ANALYTICS
from tests.history.conftest import plain_form
from trade_sync_service.io.reconciliation_reader import SQL as RECONCILE
from trade_sync_service.io.store import SQL as SYNC
from trade_sync_service.status import SQL as STATUS
from websocket_listener.corporate_actions import SQL as ACTIONS
from websocket_listener.fee_values import SQL as FEES
from websocket_listener.store import _OPEN_ORDERS

#: Index -> query that needs it.
QUERIES = {
    "fills_by_symbol": "SELECT * FROM trading.fills WHERE account_id = $1 AND category = 'linear' AND symbol = $2 "
    "AND (exec_time, seq) > ($3, 0) ORDER BY exec_time, seq LIMIT 100",
    "fills_by_bot": "SELECT * FROM trading.fills WHERE bot_id = $1 ORDER BY exec_time DESC, seq DESC LIMIT 5",
    "round_trips_by_bot": "SELECT * FROM trading.position_summaries WHERE bot_id = $1 ORDER BY closed_at DESC LIMIT 100",
    "round_trips_by_id": "SELECT * FROM trading.position_summaries WHERE trade_id = $1",
    "round_trips_by_time": ANALYTICS["trades"],
    "orders_open": _OPEN_ORDERS,
    "completed_trades_by_bot": RECONCILE["trades_closed_between"].rstrip() + " ORDER BY bot_id, updated_at",
    "completed_trades_by_order_time": SYNC["trades_of_window"],
    "transfers_by_time": RECONCILE["transfers_between"],
    "sync_runs_by_account": STATUS["status"],
    "halts_once": "SELECT reason FROM trading.halts WHERE lifted_at IS NULL AND account_id = $1",
    "commands_by_time": "SELECT * FROM audit.commands ORDER BY issued_at DESC LIMIT $1",
    "fills_fees_without_price": FEES["waiting"],
    "fills_corporate_actions": ACTIONS["pending"],
    "models_one_live": "SELECT version FROM trading.models WHERE name = $1 AND stage = 'live'",
    "dashboard_sessions_by_person": "SELECT * FROM audit.dashboard_sessions WHERE person = $1 ORDER BY created_at DESC",
    "alerts_by_time": "DELETE FROM audit.alerts WHERE raised_at < $1",
}


@plain_form
async def test_every_index_answers_a_query_of_ours_and_there_is_no_other(owner: Connection) -> None:
    rows = await owner.fetch(
        "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname IN ('trading', 'audit') AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid)"
    )
    assert {row[0] for row in rows} == set(QUERIES)
    # Tables are empty here: what matters is that the planner can use the index.
    await owner.execute("SET enable_seqscan = off; SET enable_sort = off; SET plan_cache_mode = force_generic_plan")
    for index, query in QUERIES.items():
        await owner.execute(f"PREPARE asked AS {query}")
        count = await owner.fetchval(
            "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'asked'"
        )
        arguments = f"({', '.join(['NULL'] * count)})" if count else ""
        plan = "\n".join(row[0] for row in await owner.fetch(f"EXPLAIN EXECUTE asked{arguments}"))
        await owner.execute("DEALLOCATE asked")
        assert index in plan, plan
