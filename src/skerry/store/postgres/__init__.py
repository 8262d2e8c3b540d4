"""The log in a PostgreSQL database: for several control planes at once."""
