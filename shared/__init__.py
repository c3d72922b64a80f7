"""The library of Brainstem: capabilities behind small ports; it imports neither functions nor infra."""
