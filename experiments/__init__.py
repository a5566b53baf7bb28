"""Questions asked of the data, each with its configuration, result and verdict."""
