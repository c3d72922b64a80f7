"""Consent: how a person's grant, or the proof of who they are, comes from a provider into our hands."""
