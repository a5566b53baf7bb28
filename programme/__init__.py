"""What one loyalty programme is: its settings, days, words, errors and durable files."""
