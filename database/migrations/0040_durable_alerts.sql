-- Every alert is kept once: the sync service copies the Redis stream, whose entry ids are the key.

ALTER TABLE audit.alerts ADD COLUMN stream_id text COLLATE "C" UNIQUE;
ALTER TABLE audit.alerts ADD COLUMN remedy text NOT NULL DEFAULT '';
COMMENT ON TABLE audit.alerts IS 'Every alert, once. Services raise alerts in the Redis stream; the sync service alone copies them here.';
COMMENT ON COLUMN audit.alerts.stream_id IS 'Id of the entry in the Redis stream; null for rows from before this column.';
COMMENT ON COLUMN audit.alerts.remedy IS 'What to do about it.';
COMMENT ON COLUMN audit.alerts.message IS 'What happened.';
REVOKE INSERT ON audit.alerts FROM alpha_listener, alpha_guard, alpha_c2, alpha_strategy;
