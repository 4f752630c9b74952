"""Freeze and takeover: whoever holds the lease of an account is stopped in the middle of a burst of orders."""
