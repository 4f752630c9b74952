-- name: insert
-- Keep alerts, each once.
INSERT INTO audit.alerts (stream_id, raised_at, level, source, bot_id, code, message, remedy) SELECT *
FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
ON CONFLICT (stream_id) DO NOTHING;

-- name: newest
-- The newest alert that was kept.
SELECT stream_id FROM audit.alerts WHERE stream_id IS NOT NULL ORDER BY alert_id DESC LIMIT 1;
