-- name: waiting
-- The oldest fees in another coin that have no price yet.
SELECT category, symbol, exec_id, exec_time, fee_currency FROM trading.fills
WHERE account_id = $1 AND fee_price IS NULL AND fee_currency NOT IN ('', 'USDT', 'USDC') AND category = 'linear'
    AND fee_currency <> ALL ($2::text[]) AND exec_type <> 'Funding'
ORDER BY exec_time LIMIT $3;

-- name: value
-- The price of the coin in which each of these fees was paid; one that is there already stays as it is.
UPDATE trading.fills f SET fee_price = v.price
FROM unnest($2::text[], $3::text[], $4::text[], $5::numeric[]) AS v (category, symbol, exec_id, price)
WHERE f.account_id = $1 AND f.category = v.category AND f.symbol = v.symbol AND f.exec_id = v.exec_id AND f.fee_price IS NULL;
