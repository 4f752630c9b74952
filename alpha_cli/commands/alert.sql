-- name: acknowledge
-- Ask the command centre to acknowledge its alerts.
INSERT INTO audit.command_centre (name, state) VALUES ($1, '{}')
ON CONFLICT (name) DO UPDATE SET updated_at = now();
