"""Records every trade and quote of the symbols that the bots follow to Parquet files and, if configured, to InfluxDB."""
