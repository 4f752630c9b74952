"""Every role has exactly the privileges it needs: tries every write of every role on every table."""

from collections.abc import Mapping

import asyncpg
import pytest
from pydantic import SecretStr

from alpha.config.services import DatabaseSettings
from alpha.postgres.database import Connection
from alpha.postgres.migrate import read_migrations
from alpha.postgres.schema import present
from tests.history.roles import PASSWORDS

#: Permitted writes of each role: table -> operations; "UPDATE a b" means only these columns. All else must be refused.
ALLOWED: Mapping[str, Mapping[str, set[str]]] = {
    "alpha_readonly": {},
    "alpha_listener": {
        "audit.venue_drift": {"INSERT"},
        "trading.listener_leases": {"INSERT", "UPDATE"},
        "trading.listener_members": {"INSERT", "UPDATE", "DELETE"},
        "trading.fills": {
            "INSERT",
            "UPDATE order_link_id fee_currency closed_size exec_pnl extra_fees fee_price completed_at",
        },
        "trading.orders": {"INSERT", "UPDATE"},
        "trading.opening_positions": {"INSERT", "UPDATE", "DELETE"},
        "trading.equity_snapshots": {"INSERT", "UPDATE"},
        "trading.watermarks": {"INSERT", "UPDATE"},
        "trading.account_settings": {"INSERT", "UPDATE"},
        "audit.rejected_messages": {"INSERT"},
    },
    "alpha_sync": {
        "audit.venue_drift": {"INSERT"},
        "trading.completed_trades": {"INSERT", "UPDATE"},
        "trading.sync_runs": {"INSERT", "UPDATE"},
        "trading.service_leases": {"INSERT", "UPDATE"},
        "trading.transfers": {"INSERT", "UPDATE"},
        "trading.reconciliation_issues": {"INSERT", "UPDATE"},
        "trading.sync_coverage": {"INSERT", "UPDATE", "DELETE"},
        "audit.alerts": {"INSERT"},
        "audit.rejected_messages": {"INSERT"},
    },
    "alpha_guard": {
        "audit.venue_drift": {"INSERT"},
        "trading.halts": {"INSERT", "UPDATE"},
        "trading.guard_state": {"INSERT", "UPDATE", "DELETE"},
        "trading.guard_lease": {"INSERT", "UPDATE"},
        "trading.bot_leases": {"INSERT", "UPDATE"},
        "trading.bots": {"UPDATE wish wish_by wish_at"},
    },
    "alpha_c2": {
        "trading.bots": {"UPDATE wish wish_by wish_at"},
        "audit.commands": {"INSERT", "UPDATE outcome answer finished_at"},
        "audit.command_centre": {"INSERT", "UPDATE", "DELETE"},
        "trading.model_checks": {"INSERT"},
        "trading.service_leases": {"INSERT", "UPDATE"},
        "audit.api_tokens": {"INSERT", "UPDATE revoked_at revoked_by"},
        "audit.proposals": {"UPDATE told_at"},
        "audit.dashboard_links": {"INSERT"},
        "audit.dashboard_sessions": {"UPDATE ended_at ended_by told_at"},
    },
    "alpha_strategy": {
        "audit.venue_drift": {"INSERT"},
        "trading.strategy_state": {"INSERT", "UPDATE"},
        "trading.bot_leases": {"INSERT", "UPDATE"},
        "trading.order_intents": {"INSERT"},
        "trading.predictions": {"INSERT", "UPDATE outcome"},
    },
    "alpha_ticks": {
        "trading.fill_quotes": {"INSERT"},
        "audit.rejected_messages": {"INSERT"},
        "audit.venue_drift": {"INSERT"},
        "trading.service_leases": {"INSERT", "UPDATE"},
    },
    "alpha_analysis": {
        "trading.analysis": {"INSERT"},
        "trading.service_leases": {"INSERT", "UPDATE"},
        "trading.analysis_schemas": {"INSERT"},
        "audit.rejected_messages": {"INSERT"},
        "audit.venue_drift": {"INSERT"},
    },
    "alpha_api": {"audit.proposals": {"INSERT"}},
    "alpha_dashboard": {
        "trading.bots": {"UPDATE wish wish_by wish_at"},
        "audit.commands": {"INSERT", "UPDATE outcome answer finished_at"},
        "audit.dashboard_sessions": {"UPDATE seen_at ended_at ended_by"},
    },
}
PERIOD_FUNCTIONS = {
    "account_days", "daily_performance", "exit_reasons", "symbol_results", "bot_performance", "exec_pnl_check", "schema_version",
    "fill_rank", "settle_coin", "other_fees",
}  # fmt: skip
FUNCTIONS: Mapping[str, set[str]] = {
    "alpha_readonly": PERIOD_FUNCTIONS,
    "alpha_listener": PERIOD_FUNCTIONS
    | {
        "register_account",
        "recompute_step",
        "recompute_pending",
        "settle",
        "note_issue",
        "correct_leg",
        "add_adjustment",
    },
    "alpha_sync": PERIOD_FUNCTIONS | {"register_account", "floor_of", "roll_up_equity"},
    "alpha_guard": PERIOD_FUNCTIONS | {"register_account"},
    "alpha_c2": PERIOD_FUNCTIONS | {"register_account", "register_model", "promote_model", "retire_model"},
    "alpha_strategy": PERIOD_FUNCTIONS | {"register_account"},
    "alpha_ticks": {"schema_version"},
    "alpha_analysis": {"prepare_analysis", "prune_analysis", "schema_version"},
    "alpha_api": PERIOD_FUNCTIONS,
    "alpha_dashboard": {"open_dashboard_session", "acknowledge_alerts", "schema_version"},
}


async def log_in(settings: DatabaseSettings, role: str) -> Connection:
    """Connect as this role, with its password."""
    return await asyncpg.connect(
        host=settings.postgres_host,
        port=settings.postgres_port,
        database=settings.postgres_db,
        user=role,
        password=PASSWORDS[role],
    )


async def refused(connection: Connection, statement: str) -> bool:
    """True when the statement is refused for insufficient privilege; it is rolled back in any case."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        return True
    except asyncpg.PostgresError:
        return False
    finally:
        await transaction.rollback()
    return False


def may(role: str, table: str, operation: str, column: str = "") -> bool:
    """True when `ALLOWED` permits it."""
    for allowed in ALLOWED[role].get(table, set()):
        word, *columns = allowed.split()
        if word == operation and (not columns or column in columns):
            return True
    return False


@pytest.mark.parametrize("role", PASSWORDS)
async def test_every_write_outside_its_duty_is_refused(
    owner: Connection, history_settings: DatabaseSettings, role: str
) -> None:
    columns = await owner.fetch(
        "SELECT table_schema || '.' || table_name AS name, array_agg(column_name::text) AS columns "
        "FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name) "
        "WHERE table_schema IN ('trading', 'audit', 'public') AND table_type = 'BASE TABLE' GROUP BY 1"
    )
    connection = await log_in(history_settings, role)
    wrong = []
    tried = 0
    for table in columns:
        name = table["name"]
        attempts = [
            ("INSERT", f"INSERT INTO {name} DEFAULT VALUES", ""),
            ("DELETE", f"DELETE FROM {name} WHERE false", ""),
            ("TRUNCATE", f"TRUNCATE {name}", ""),
            *(("UPDATE", f"UPDATE {name} SET {column} = DEFAULT WHERE false", column) for column in table["columns"]),
        ]
        for operation, statement, column in attempts:
            tried += 1
            if await refused(connection, statement) == may(role, name, operation, column):
                wrong.append(f"{operation} {name} {column}")
    await connection.close()
    assert not wrong
    assert tried > 300


@pytest.mark.parametrize("role", PASSWORDS)
async def test_nobody_but_the_owner_changes_the_schema_or_calls_its_inner_functions(
    owner: Connection, history_settings: DatabaseSettings, role: str
) -> None:
    connection = await log_in(history_settings, role)
    for statement in (
        "CREATE TABLE trading.mine (a int)",
        "CREATE TABLE audit.mine (a int)",
        "CREATE TABLE public.mine (a int)",
        "CREATE TEMP TABLE mine (a int)",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "ALTER TABLE trading.fills ADD COLUMN mine int",
        "ALTER TABLE trading.fills DISABLE TRIGGER update_rollups",
        "DROP TABLE trading.fills CASCADE",
        "DELETE FROM trading.position_summaries",
        "UPDATE trading.position_summaries SET fills = 0",
        "SET ROLE trading_user",
        "SET session_replication_role = replica",
        "COPY trading.fills TO PROGRAM 'cat'",
    ):
        assert await refused(connection, statement), statement
    functions = await owner.fetch(
        "SELECT p.proname AS name, p.oid AS number FROM pg_proc p "
        "JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname IN ('trading', 'audit') AND p.prorettype <> 'trigger'::regtype"
    )
    callable_here = {
        row["name"]
        for row in functions
        if await connection.fetchval("SELECT has_function_privilege($1::oid, 'EXECUTE')", row["number"])
    }
    await connection.close()
    assert callable_here == FUNCTIONS[role]


async def test_every_role_may_ask_whether_its_service_may_start(history_settings: DatabaseSettings) -> None:
    for role, password in PASSWORDS.items():
        settings = history_settings.model_copy(update={"postgres_user": role, "postgres_password": SecretStr(password)})
        assert await present(settings) == read_migrations()[-1].number, role


async def test_history_is_readable_to_all_who_trade_or_ask_and_the_audit_to_those_who_need_it(
    history_settings: DatabaseSettings,
) -> None:
    for role in PASSWORDS:
        connection = await log_in(history_settings, role)
        for view in ("fills", "position_summaries", "bot_daily_performance", "exit_reason_analysis", "symbol_performance",
                     "open_positions", "books_balance", "completed_trades"):  # fmt: skip
            if role in {"alpha_ticks", "alpha_analysis", "alpha_dashboard"}:
                assert await refused(connection, f"SELECT * FROM trading.{view} LIMIT 1")
            else:
                await connection.fetch(f"SELECT * FROM trading.{view} LIMIT 1")
        if role not in ("alpha_c2", "alpha_api", "alpha_dashboard"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch("SELECT * FROM audit.commands")
        await connection.close()


async def test_the_listener_inserts_fills_although_it_may_not_touch_what_is_computed_from_them(
    owner: Connection, listener: Connection
) -> None:
    from alpha.postgres.fills import insert_fills
    from tests.support.fill_generator import some_fills

    account = await listener.fetchval("SELECT trading.register_account('simulated', 'roles', 'shortseller_001')")
    rows = some_fills(1, 200, account, "BTCUSDT")
    assert (await insert_fills(listener, rows)).inserted == 200
    assert await owner.fetchval("SELECT count(*) FROM trading.round_trips") > 0
    assert await listener.fetchval("SELECT trading.settle()") == 0


async def test_a_process_that_lost_its_lease_cannot_overwrite_the_state(
    owner: Connection, history_settings: DatabaseSettings
) -> None:
    connection = await log_in(history_settings, "alpha_strategy")
    account = await connection.fetchval("SELECT trading.register_account('simulated', 'lease', 'lxalgo_001')")
    save = (
        "INSERT INTO trading.strategy_state (account_id, name, bot_id, state, lease_token) VALUES ($1, 'strategy', 'lxalgo_001', "
        "'{}', $2) ON CONFLICT (account_id, name) DO UPDATE SET state = excluded.state, lease_token = excluded.lease_token"
    )
    await connection.execute(save, account, 1)
    await connection.execute(
        "INSERT INTO trading.bot_leases VALUES ($1, 'lxalgo_001', 'second', 2, now(), now() + interval '10 s')", account
    )
    with pytest.raises(asyncpg.PostgresError, match="no longer owns the account"):
        await connection.execute(save, account, 1)
    await connection.execute(save, account, 2)
    await connection.close()


async def test_a_listener_frozen_in_a_transaction_does_not_keep_its_lease_from_the_next(
    owner: Connection, history_settings: DatabaseSettings
) -> None:
    """The row of the lease is locked while a watermark moves: the server must end a transaction that stands still."""
    frozen = await log_in(history_settings, "alpha_listener")
    await owner.execute(
        "INSERT INTO trading.listener_leases (name, holder, token, acquisitions, acquired_at, expires_at, handed_over) "
        "VALUES ('account:30000', 'one', 1, 1, now(), now(), true)"
    )
    transaction = frozen.transaction()
    await transaction.start()
    await frozen.fetchval("SELECT token FROM trading.listener_leases WHERE name = 'account:30000' FOR SHARE")
    # What a successor does; without an end of the transaction it would wait for ever.
    await owner.execute("UPDATE trading.listener_leases SET holder = 'two' WHERE name = 'account:30000'", timeout=12)
    assert await owner.fetchval("SELECT holder FROM trading.listener_leases WHERE name = 'account:30000'") == "two"
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)):
        await transaction.commit()
    frozen.terminate()
