"""Provider tokens at rest: sealed under a key per user, refreshed by one step at a time."""
