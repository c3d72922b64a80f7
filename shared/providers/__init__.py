"""Mail providers: ``base`` is what each yields; every other package here adapts one provider to it."""
