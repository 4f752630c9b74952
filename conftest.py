"""The fixtures that all parts share: real PostgreSQL, real Redis, the simulated exchange."""

pytest_plugins = ["tests.stack.fixtures"]
