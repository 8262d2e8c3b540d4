"""What the base image `nodejs` is made of: its server, and how images and functions are built from it."""
