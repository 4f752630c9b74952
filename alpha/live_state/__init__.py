"""Live state in Redis: key names, connections, typed reads, events and commands.

Each bot has its own database; shared data is in database 15. Redis is never the only copy of anything that
matters: emptied, it is rebuilt from the exchange and PostgreSQL.
"""
