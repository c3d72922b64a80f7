"""The HTTP below all providers: bounded in time and bytes, and read without trust."""
