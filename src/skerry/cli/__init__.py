"""`skerry ...`: parse, call the client, print."""
