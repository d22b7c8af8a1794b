"""App: the root configuration, and the one place where adapters are chosen and wired."""
