"""What people read: on the terminal and as one-file pages."""
