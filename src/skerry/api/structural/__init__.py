"""Structural schemas: the schemas of custom kinds, from their admission to what they do to objects."""
