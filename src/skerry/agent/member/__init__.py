"""A node that has joined a fleet: `member.Member` keeps it as the fleet wants it, with or without the control plane."""
