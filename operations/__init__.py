"""Operations: what the operator can query and command, as functions.

Each takes an `Operations` and typed arguments and returns typed rows. Telegram, the terminal and the dashboard present
the same rows; none of them accesses Redis or PostgreSQL directly.
"""
