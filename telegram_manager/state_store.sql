-- name: load
-- One state of the command centre.
SELECT state FROM audit.command_centre WHERE name = $1;

-- name: save
-- Keep one state of the command centre.
INSERT INTO audit.command_centre (name, state) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET state = excluded.state, updated_at = now();
