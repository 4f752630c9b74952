"""A local Bybit V5 exchange for linear perpetuals."""
