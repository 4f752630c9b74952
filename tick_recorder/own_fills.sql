-- name: has_intents
-- Whether this schema records why orders were sent.
SELECT to_regclass('trading.order_intents') IS NOT NULL;
