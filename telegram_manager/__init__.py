"""The command centre: the operator on Telegram, alerts, channels, and the watch over what should run."""
