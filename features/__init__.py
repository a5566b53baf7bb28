"""Raw events in, one row per (member, as_of) out; knows nothing of models."""
