"""What an answer costs beside a bare service on the same model, and how it holds under load."""
