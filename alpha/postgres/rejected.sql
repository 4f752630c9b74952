-- name: keep
-- Keep a message that cannot be read.
INSERT INTO audit.rejected_messages (source, account_id, bot_id, topic, fault, message)
VALUES ($1, $2, $3, $4, $5, $6);
