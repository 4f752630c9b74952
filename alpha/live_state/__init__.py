"""Live state in Redis: the names of its keys, connections, typed reads, events and commands.

Each bot has its own database; what belongs to all is in database 15. Redis is never the only copy of anything that
matters: emptied, it is rebuilt from the exchange and PostgreSQL.
"""
