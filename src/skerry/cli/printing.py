"""What commands print: sentences and tables to standard output, errors and progress to standard error."""

import sys
from typing import Any

import orjson
import yaml
from rich.console import Console

from skerry.api.kinds import Kind
from skerry.api.model import Document
from skerry.cli.tables import table_of
from skerry.client.transport import Target
from skerry.kit.clock import SystemClock

OUTPUTS = ("table", "wide", "yaml", "json", "name")

#: In a pipe a table is as wide as it needs to be: nothing is cut off. `:x:` in a text is no picture, and `[x]` is no
#: style, unless whoever prints says `markup=True`.
out = Console(soft_wrap=True, highlight=False, emoji=False, markup=False, width=None if sys.stdout.isatty() else 10_000)
err = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False, markup=False)

_FIRST = ("apiVersion", "kind", "metadata")


def spoken(target: Target) -> str:
    """Name an object as kubectl does: `edgefunction.extensions.apoxy.dev/hello`."""
    group = f".{target.kind.group}" if target.kind.group else ""
    return f"{target.kind.singular}{group}/{target.name}"


def print_objects(kind: Kind[Any], documents: list[Document], output: str, *, single: bool) -> None:
    """Print objects as one of `OUTPUTS`; `single` for the one that was asked for by name."""
    whole: Document | list[Document]
    documents = [_in_order(document) for document in documents]
    whole = documents[0] if single else {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": documents}
    match output:
        case "json":
            out.print(orjson.dumps(whole, option=orjson.OPT_INDENT_2).decode())
        case "yaml":
            out.print(yaml.safe_dump(whole, sort_keys=False).rstrip())
        case "name":
            for document in documents:
                out.print(spoken(Target(kind, name=document["metadata"]["name"])))
        case _ if not documents:
            err.print(f"no {kind.plural} found")
        case _:
            out.print(table_of(kind, documents, clock=SystemClock(), wide=output == "wide"))


def _in_order(document: Document) -> Document:
    """Begin with what it is, and leave out who wrote which field, as kubectl does."""
    first = {name: document[name] for name in _FIRST if name in document}
    if "managedFields" in first.get("metadata", {}):
        first["metadata"] = {name: value for name, value in first["metadata"].items() if name != "managedFields"}
    return first | {name: value for name, value in document.items() if name not in _FIRST}
