"""Bybit's own account of closed trades: read completely, kept in `trading.completed_trades`, and proven against ours."""
