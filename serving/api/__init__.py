"""The typed REST routes and what they say."""
