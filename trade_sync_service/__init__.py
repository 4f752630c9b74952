"""Reads Bybit's closed-P&L history completely into `trading.completed_trades` and reconciles it with our records."""
