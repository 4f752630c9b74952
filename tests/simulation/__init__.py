"""Deterministic simulation: listener, bot and guard on one virtual clock, against the simulated exchange in-process.

One seed is one schedule: the same seed always interleaves frames, answers, timers, crashes, freezes and takeovers in the
same way. Product code runs unchanged; what it would reach over a socket is replaced at the driver's interface: asyncpg's
pool, redis-py's client, the HTTP transport and the WebSocket. Real stores are tested elsewhere.
"""
