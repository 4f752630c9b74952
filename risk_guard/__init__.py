"""The guard: watches each account independently of its bot, and acts when the bot cannot."""
