"""Points and tiers: the system of record. Appended to, never edited; integers; once."""
