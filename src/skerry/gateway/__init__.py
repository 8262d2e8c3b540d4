"""How traffic flows: resources become our own model of it, then Envoy's; and the Envoy that serves it."""
