-- name: save
-- Keep the bot's state under its lease; the trigger refuses what is written under an older one.
INSERT INTO trading.strategy_state AS s (account_id, name, bot_id, state, lease_token, updated_at)
SELECT $1, r.name, $2, r.state, $3, now() FROM unnest($4::text[], $5::jsonb[]) AS r(name, state)
ON CONFLICT (account_id, name) DO UPDATE
SET state = excluded.state, lease_token = excluded.lease_token, updated_at = excluded.updated_at;

-- name: record
-- Record why orders are sent; one that is there already stays as it is.
INSERT INTO trading.order_intents (account_id, order_link_id, bot_id, symbol, bar_start, intent, order_kind, side, qty, price,
                                   tag, reason, why, decision_price, decided_at)
SELECT $1, r.order_link_id, $2, r.symbol, r.bar_start, r.intent, r.kind, r.side, r.qty, r.price, r.tag, r.reason, r.why,
       r.decision_price, r.decided_at
FROM unnest($3::text[], $4::text[], $5::timestamptz[], $6::text[], $7::text[], $8::text[], $9::numeric[], $10::numeric[],
            $11::text[], $12::text[], $13::text[], $14::numeric[], $15::timestamptz[])
     AS r(order_link_id, symbol, bar_start, intent, kind, side, qty, price, tag, reason, why, decision_price, decided_at)
ON CONFLICT DO NOTHING;

-- name: halt
-- The first halt in force for an entry in this symbol.
SELECT reason FROM trading.halts
WHERE lifted_at IS NULL AND (account_id IS NULL OR account_id = $1) AND (bot_id IS NULL OR bot_id = $2)
  AND (symbol IS NULL OR symbol = $3) AND (expires_at IS NULL OR expires_at > $4)
ORDER BY halt_id LIMIT 1;

-- name: last_account
-- The account that the bot used last.
SELECT account_id FROM trading.strategy_state WHERE bot_id = $1 ORDER BY updated_at DESC LIMIT 1;

-- name: wish
-- What the operator wishes of the bot.
SELECT wish FROM trading.bots WHERE bot_id = $1;

-- name: register_account
-- The number of the account of this key, made at its first use.
SELECT trading.register_account($1, $2, $3) AS id;

-- name: load
-- The bot's state.
SELECT name, state FROM trading.strategy_state WHERE account_id = $1;
