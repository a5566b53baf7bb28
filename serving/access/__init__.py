"""Who may call: keys, what each of them opens, how often, and who needs none."""
