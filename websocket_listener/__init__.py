"""The WebSocket listener: Bybit's private and public streams into PostgreSQL (history) and Redis (live state)."""
