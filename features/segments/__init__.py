"""Segments: what is said of a member by comparing her with all the others."""
