"""The sets of adapters behind the ports; ``shared.wiring`` chooses one, and each passes ``tests/contract``."""
