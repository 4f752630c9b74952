"""Our books against the exchange's: what differs, why where that is known, and what has been settled since."""
