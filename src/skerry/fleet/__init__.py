"""The fleet: which node is to run what, what it reports, and how devices join. Decisions only, no I/O."""
