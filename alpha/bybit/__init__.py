"""Bybit V5: typed rows and one REST gateway that throttles, retries by rule and caps every order."""
