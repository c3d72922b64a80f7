"""The log of every stream and the ways out of it: envelope, append, read, publish, consume."""
