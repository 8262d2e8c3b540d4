"""Skerry: one control plane for code at the edge, and the runtime that runs it.

The rooms of this package and who may import whom are told in docs/concepts/architecture.md;
import-linter holds the direction.
"""

__version__ = "0.1.0"
