"""Fresh within a second: rows come in, members are computed again, the store answers."""
