"""Objects as rows."""

from rich.console import Console

from skerry.api.rbac_v1 import CLUSTER_ROLE
from skerry.cli.tables import table_of
from skerry.testing.clock import FakeClock


def test_a_name_with_brackets_is_printed_as_it_is() -> None:
    names = ["[a]", "[/a]", "x[red]y"]
    console = Console(width=100)
    with console.capture() as captured:
        console.print(table_of(CLUSTER_ROLE, [{"metadata": {"name": n}} for n in names], clock=FakeClock(), wide=True))
    assert [line.strip() for line in captured.get().splitlines()[2:]] == names
