"""Actions: whom to contact, with what, and what it changed; scores come in as data."""
