"""Moving a log as a whole: out of a database, into another one, into a file and back, and checking it."""
