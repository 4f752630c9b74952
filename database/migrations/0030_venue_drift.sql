-- What the exchange sends that its documents did not know.

CREATE TABLE audit.venue_drift (
    kind       text COLLATE "C" NOT NULL CHECK (kind IN ('field', 'value', 'code', 'topic')),
    place      text COLLATE "C" NOT NULL,
    name       text COLLATE "C" NOT NULL,
    first_seen timestamptz NOT NULL DEFAULT now(),
    service    text COLLATE "C" NOT NULL,
    example    text NOT NULL,
    PRIMARY KEY (kind, place, name)
);
COMMENT ON TABLE audit.venue_drift IS 'New fields, values, return codes and topics of the exchange, each noted once. Nothing depends on them.';
COMMENT ON COLUMN audit.venue_drift.kind IS 'field, value, code or topic.';
COMMENT ON COLUMN audit.venue_drift.place IS 'The kind of row, the endpoint or the stream.';
COMMENT ON COLUMN audit.venue_drift.name IS 'The field, field=value, the code or the topic.';
COMMENT ON COLUMN audit.venue_drift.first_seen IS 'Wall clock.';
COMMENT ON COLUMN audit.venue_drift.service IS 'Who saw it first.';
COMMENT ON COLUMN audit.venue_drift.example IS 'The value as it came, shortened; masked where its name suggests a secret.';

GRANT INSERT ON audit.venue_drift TO alpha_listener, alpha_sync, alpha_guard, alpha_strategy, alpha_ticks;
GRANT SELECT ON audit.venue_drift TO alpha_c2, alpha_readonly;
