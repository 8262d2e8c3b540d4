"""How code arrives: built, verified, and kept by its sha256. Runs no function; that is the engine's part."""
