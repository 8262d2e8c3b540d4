"""Under which name a chain asks for its route table: one of its own, for as long as its filters are the same.

Envoy takes listeners and routes one after the other. A listener whose filters change is warmed while the one before
still serves, and that one drains for seconds after it. If both read one route table, new routes would be served through
a chain that lacks the filters that came with them: a route without the plugin that guards it. So a table has another
name for each chain, and the chain before keeps the routes that it had.

Invariant: a request meets the filters and the routes of one state, never the routes of one and the filters of another.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from skerry.gateway import ir

#: In no name of a table: those are made of names of the API.
_SEPARATOR = "#"


def served_name(chain: ir.Chain) -> str:
    """Return the name of a chain's route table in Envoy."""
    filters = (chain.network_plugins, chain.http_filters, chain.route_filters, chain.last_filters)
    return f"{chain.table}{_SEPARATOR}{hashlib.sha256(repr(filters).encode()).hexdigest()[:8]}"


def table_name(served: str) -> str:
    """Return the name of the route table that is served under a name."""
    return served.partition(_SEPARATOR)[0]


def served_tables(bindings: Iterable[ir.Binding], tables: Iterable[ir.RouteTable]) -> tuple[ir.RouteTable, ...]:
    """Return the route tables as chains ask for them."""
    by_name = {table.name: table for table in tables}
    wanted = {served_name(chain): chain.table for binding in bindings for chain in binding.chains}
    return tuple(replace(by_name[name], name=served) for served, name in sorted(wanted.items()))


__all__ = ["served_name", "served_tables", "table_name"]
