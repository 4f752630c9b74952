-- name: split
-- Symbols and legs that had a corporate action.
SELECT DISTINCT symbol, leg FROM trading.fills
WHERE account_id = $1 AND category = 'linear' AND exec_type = 'CorporateAction';
