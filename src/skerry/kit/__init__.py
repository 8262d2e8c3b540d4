"""The ground floor: clock, ids, errors, tasks, processes, logging. Knows no word of any domain."""
