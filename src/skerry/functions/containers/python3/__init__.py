"""What the base image `python3` is made of: its server, and how images and functions are built from it."""
