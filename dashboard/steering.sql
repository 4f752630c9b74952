-- name: acknowledge
-- Ask the command centre to acknowledge its alerts.
SELECT audit.acknowledge_alerts($1);
