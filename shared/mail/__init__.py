"""The sync engine: a pure fold at its heart, and around it the steps that feed it and write what it decides."""
