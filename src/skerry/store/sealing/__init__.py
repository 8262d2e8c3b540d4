"""Values that are sealed at rest: the envelope, its keys, the driver that applies it, rotation."""
