"""The guard: watches each account from the side, and acts when its bot cannot."""
