"""The laptop: one gateway for all functions, provider simulators, the mail importer, the demo and its verdict."""
