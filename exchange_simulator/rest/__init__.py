"""REST API: one module per endpoint group, one parameter table per endpoint."""
