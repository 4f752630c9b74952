"""Writes `.env` and the secrets of an installation (`alpha init`)."""
