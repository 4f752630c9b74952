-- name: present
-- Those of these categories of which the account has fills.
SELECT c FROM unnest($2::text[]) AS c
WHERE EXISTS (SELECT FROM trading.fills WHERE account_id = $1 AND category = c) ORDER BY c;

-- name: note
-- Note that other products explain a difference of the account's figures.
SELECT trading.note_issue($1, 'outside_figures', 'executions', NULL, NULL, $2, $3, 'explained');
