-- name: abandon_commands
-- Commands of this dashboard that a restart has interrupted have failed.
UPDATE audit.commands
SET outcome = 'failed', finished_at = now(), answer = 'The dashboard was restarted while it ran.'
WHERE source = 'dashboard' AND outcome = 'confirmed' AND finished_at IS NULL;

-- name: acknowledge
-- Ask the command centre to acknowledge its alerts.
SELECT audit.acknowledge_alerts($1);
