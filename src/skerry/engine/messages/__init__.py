"""Functions that are called with messages instead of requests: a worker process of its own, and its other side."""
