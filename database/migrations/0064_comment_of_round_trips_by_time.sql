COMMENT ON INDEX trading.round_trips_by_time IS 'The trades of a period, newest first, on the dashboard and in analytics.';
