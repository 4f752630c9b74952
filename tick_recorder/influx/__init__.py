"""InfluxDB as a second home of trades and quotes, filled from the files."""
