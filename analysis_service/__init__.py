"""Indicators and ratings of every followed symbol on several timeframes, published to Redis and PostgreSQL."""
