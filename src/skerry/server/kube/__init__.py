"""The Kubernetes front door: the wire format that kubectl and its kin expect."""
