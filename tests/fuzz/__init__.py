"""Inputs nobody here has written: each target is fed with them until something else than a sentence comes back."""
