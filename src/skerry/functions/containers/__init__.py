"""Functions in containers, through the API of Docker (podman serves it, too)."""
