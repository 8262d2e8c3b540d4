"""A typed client of Skerry's API, and the informer cache on it. In process or over the wire, the same."""
