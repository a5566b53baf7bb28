"""Fresh in seconds: rows come in, members are computed again, the store answers."""
