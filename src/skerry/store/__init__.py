"""The revision log: one core over thin drivers. See README.md of this room."""
