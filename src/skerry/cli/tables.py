"""Objects as rows, by the columns that their kind declares: the same ones that `kubectl get` shows."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from skerry.api.durations import humanize
from skerry.api.kinds import Kind, age_of
from skerry.api.model import Document
from skerry.kit.clock import Clock, from_rfc3339


def table_of(kind: Kind[Any], documents: list[Document], *, clock: Clock, wide: bool) -> Table:
    """Return a printable table: Namespace where the kind has one, Name, the kind's columns, Age."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    columns = [column for column in kind.columns if wide or column.priority == 0]
    headings = ["Namespace"] * kind.namespaced + ["Name", *(column.name for column in columns), "Age"]
    for heading in headings:
        table.add_column(heading.upper(), no_wrap=True)
    for document in documents:
        metadata = document["metadata"]
        cells = [metadata.get("namespace", "")] * kind.namespaced + [metadata["name"]]
        for column in columns:
            value = column.value(document)
            cells.append(_age(value, clock) if column.type == "date" else _cell(value))
        table.add_row(*map(Text, cells), _age(age_of(document), clock))  # as they are: a name may have brackets
    return table


def _cell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def _age(moment: str | None, clock: Clock) -> str:
    return humanize((clock.now() - from_rfc3339(moment)).total_seconds()) if moment else ""
