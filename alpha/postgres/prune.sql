-- name: orders
-- Orders that were never filled.
DELETE FROM trading.orders WHERE cum_exec_qty = 0 AND updated_at < $1;

-- name: equity_snapshots
-- Snapshots of the equity; the row of their day stays.
DELETE FROM trading.equity_snapshots WHERE taken_at < $1;

-- name: sync_runs
-- What earlier runs of the trade sync did.
DELETE FROM trading.sync_runs WHERE started_at < $1;

-- name: alerts
-- Alerts that were raised before.
DELETE FROM audit.alerts WHERE raised_at < $1;

-- name: rejected_messages
-- Messages that could not be read.
DELETE FROM audit.rejected_messages WHERE received_at < $1;

-- name: halts
-- Halts that are no longer in force.
DELETE FROM trading.halts WHERE lifted_at < $1;

-- name: dashboard_links
-- Links to the dashboard that nobody can use any more.
DELETE FROM audit.dashboard_links WHERE expires_at < $1;

-- name: dashboard_sessions
-- Sessions of the dashboard that are over.
DELETE FROM audit.dashboard_sessions WHERE expires_at < $1;
