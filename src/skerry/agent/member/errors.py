"""What goes wrong on a node that has joined a fleet."""

from skerry.kit.errors import SkerryError


class LinkError(SkerryError):
    """The control plane can't be reached, or refuses what it was asked."""


class RefusedError(LinkError):
    """The control plane answered, and refused: it is of no use to ask the same again at once."""


class ApplicationError(SkerryError):
    """An application can't run here; the sentence is told to the control plane as its cause."""
