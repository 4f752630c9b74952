-- name: propose
-- Keep a command that a client proposes.
INSERT INTO audit.proposals (client, command, words, why) VALUES ($1, $2, $3, $4);

-- name: tell_new
-- Proposals of the last hour that nobody was told of, which this notes as told.
UPDATE audit.proposals SET told_at = now()
WHERE told_at IS NULL AND proposed_at > now() - interval '1 hour'
RETURNING proposal_id, client, command, words, why;
