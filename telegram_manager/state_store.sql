-- name: load
-- One state of the command centre.
SELECT state FROM audit.command_centre WHERE name = $1;

-- name: save
-- Keep one state of the command centre.
INSERT INTO audit.command_centre (name, state) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET state = excluded.state, updated_at = now();

-- name: abandon_commands
-- Commands that a restart of the command centre has interrupted have failed.
UPDATE audit.commands
SET outcome = 'failed', finished_at = now(), answer = 'The command centre was restarted while it ran.'
WHERE source = 'telegram' AND outcome = 'confirmed' AND finished_at IS NULL AND issued_at > now() - interval '1 day'
RETURNING command_id, name, coalesce(bot_id, '') AS bot;
