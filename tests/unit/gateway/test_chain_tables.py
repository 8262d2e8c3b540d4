from dataclasses import replace

import pytest

from skerry.gateway import ir
from skerry.gateway.chain_tables import served_name, served_tables, table_name
from skerry.gateway.route_filters import ENGINE_PLACE

USE = ir.PluginUse("default.p", "deny")
CHAIN = ir.Chain("default/edge/http")


def binding(name: str, *chains: ir.Chain) -> ir.Binding:
    return ir.Binding(name, "default/edge", "127.0.0.1", 80, chains)


@pytest.mark.parametrize(
    "changed",
    [
        replace(CHAIN, network_plugins=(USE,)),
        replace(CHAIN, http_filters=(USE,)),
        replace(CHAIN, route_filters=(ir.EnginePlace(ENGINE_PLACE),)),
        replace(CHAIN, last_filters=(USE,)),
    ],
)
def test_a_chain_with_other_filters_has_its_table_under_another_name(changed: ir.Chain) -> None:
    assert served_name(changed) != served_name(CHAIN)
    assert table_name(served_name(changed)) == table_name(served_name(CHAIN)) == CHAIN.table


def test_a_chain_with_the_same_filters_keeps_its_table() -> None:
    assert served_name(replace(CHAIN, certificates=("default/c",), server_names=("a.test",))) == served_name(CHAIN)


def test_each_chain_finds_its_table() -> None:
    guarded = replace(CHAIN, http_filters=(USE,))
    table = ir.RouteTable(CHAIN.table, (ir.VirtualHost("*", ()),))
    found = served_tables([binding("a", CHAIN), binding("b", guarded), binding("c", CHAIN)], [table])
    assert {each.name: each.hosts for each in found} == dict.fromkeys(map(served_name, (CHAIN, guarded)), table.hosts)
