"""Our records against the exchange's: what differs, why if that is known, and what has been resolved since."""
