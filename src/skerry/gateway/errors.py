"""What can go wrong in the gateway.

    SkerryError
    ├── StartError (kit)      the Envoy process or the xDS server could not start
    ├── NotApplied            Envoy has not answered for a snapshot in time
    └── AdminUnavailable      Envoy's admin interface does not answer (the process is between two lives)

What Envoy refuses is no error here but a `Rejection`: the rest of the snapshot applies.
"""

from skerry.kit.errors import SkerryError


class NotApplied(SkerryError):
    """Envoy has neither taken nor refused everything of a snapshot in time."""


class AdminUnavailable(SkerryError):
    """Envoy's admin interface does not answer."""
