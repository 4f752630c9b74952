"""The command centre: the operator on Telegram, alerts, channels, and the watch over what should run."""

import os

# python-telegram-bot gives `retry_after` as a timedelta then, as its next major version always will.
os.environ.setdefault("PTB_TIMEDELTA", "true")
