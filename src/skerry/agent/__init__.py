"""The node: its view of the log, its Envoy, its engine workers, and its report."""
