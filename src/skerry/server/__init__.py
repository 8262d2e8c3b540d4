"""The front doors of the API, and the verbs that stand behind all of them. See README.md of this room."""
