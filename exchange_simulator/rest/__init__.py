"""The REST side: one module a group of endpoints, one table of parameters each."""
