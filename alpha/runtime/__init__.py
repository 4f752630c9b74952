"""Former home of the bot runner. Kept for one release for the entry points of users' own strategies."""
