-- name: record
-- Record the attempt of a command once.
INSERT INTO audit.commands (command_id, source, issuer, issuer_role, chat, name, bot_id, arguments, outcome, answer)
VALUES ($1, $2, $3, nullif($4, ''), nullif($5, ''), $6, nullif($7, ''), $8, $9, nullif($10, ''))
ON CONFLICT (command_id) DO NOTHING RETURNING command_id;

-- name: finish
-- How a command ended.
UPDATE audit.commands SET outcome = $2, answer = nullif($3, ''), finished_at = now() WHERE command_id = $1;

-- name: abandon
-- Confirmed commands of a program that a restart has interrupted have failed.
UPDATE audit.commands SET outcome = 'failed', finished_at = now(), answer = $2
WHERE source = $1 AND outcome = 'confirmed' AND finished_at IS NULL
RETURNING name, coalesce(bot_id, '') AS bot, issued_at > now() - interval '1 day' AS recent;
