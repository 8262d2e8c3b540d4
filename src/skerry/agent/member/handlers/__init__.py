"""What function processes load on a node: it runs on their side, and is copied to where they see it."""
