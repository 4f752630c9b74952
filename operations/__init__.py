"""The functions of the platform: what the operator can ask and do.

Each takes a `Platform` and typed arguments and returns typed rows. Telegram, the terminal and the web present the same
rows; none of them asks Redis or PostgreSQL by itself.
"""
