"""Scenario tags: what a marketer would say of a member, as rules over columns, declared in TOML."""
