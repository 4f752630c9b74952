-- name: fills
-- How many fills and funding payments there are, and since when; a funding payment is an execution, not a fill.
SELECT count(*) FILTER (WHERE exec_type <> 'Funding') AS fills,
    count(*) FILTER (WHERE exec_type = 'Funding') AS funding, min(exec_time) AS since
FROM trading.fills;

-- name: count_trips
-- How many positions there were.
SELECT count(*) FROM trading.position_summaries;

-- name: net
-- Net results by settle coin.
SELECT settle_coin AS coin, sum(gross - fees + funding) AS net FROM trading.daily_totals GROUP BY 1;

-- name: open_differences
-- How many differences from Bybit's own figures are open.
SELECT count(*) FROM trading.reconciliation_issues WHERE state = 'open';
