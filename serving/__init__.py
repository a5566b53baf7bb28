"""The shell: everything that faces the outside."""
