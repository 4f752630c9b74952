"""Every trade and quote of the symbols that the bots follow, in Parquet files and, where one is configured, in InfluxDB."""
