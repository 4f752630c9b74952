"""Tests of the Bybit gateway."""
