"""Functions as processes of this machine: no container, no server, nothing to install."""
