"""Reconcilers, one file each. Each reads the log through informers, and acts; it takes no input but a wake-up."""
