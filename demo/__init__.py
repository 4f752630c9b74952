"""`make demo`: the whole system as processes on this machine, with no keys, no Docker and no network."""
