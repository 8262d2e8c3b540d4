"""Packages from an npm registry: resolved by npm, brought and unpacked by our own client, never run."""
