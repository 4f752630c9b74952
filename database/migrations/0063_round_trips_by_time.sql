-- concurrently
CREATE INDEX CONCURRENTLY IF NOT EXISTS round_trips_by_time ON trading.round_trips (closed_at);
