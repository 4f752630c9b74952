"""`alpha observe`: the record of an account of your own, on this machine, with a read-only key."""
