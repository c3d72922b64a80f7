"""What a person may ask for about all that is kept of them: a copy of it, and its end."""
