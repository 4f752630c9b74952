"""Tests of the trade sync service."""
