"""A Bybit V5 exchange on this machine, for linear perpetuals."""
