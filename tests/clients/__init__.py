"""Published clients against the simulated exchange, unmodified but for addresses: `make test-clients`."""
