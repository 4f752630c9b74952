"""The command centre: Telegram commands, alerts, channels, and the health watch over every service."""

import os

# Makes python-telegram-bot return `retry_after` as a timedelta, which its next major version will do by default.
os.environ.setdefault("PTB_TIMEDELTA", "true")
