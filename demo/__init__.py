"""`make demo`: the whole system as local processes, without keys, Docker or network."""
