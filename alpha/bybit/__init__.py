"""Bybit V5: typed rows and one REST gateway that throttles, retries by policy and caps every order."""
