-- name: note
-- Keep what Bybit sent and we do not know, each name once.
INSERT INTO audit.venue_drift (kind, place, name, service, example) SELECT *
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) ON CONFLICT DO NOTHING;
