"""Copies trades and quotes from the files to InfluxDB."""
