"""The composition root: configuration, wiring, signals. May know every room, and decides nothing."""
