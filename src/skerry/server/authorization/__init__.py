"""Who may do what: role based access control, kept in memory and always as new as what was acknowledged."""
