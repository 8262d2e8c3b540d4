"""What a request wants, by its method and path: the question that access answers."""

from typing import Any

import pytest

from skerry.server.access import Act
from skerry.server.kube.acts import resource_act
from skerry.server.kube.paths import ResourcePath, parse_path

CONFIGS = "/api/v1/namespaces/shop/configmaps"


@pytest.mark.parametrize(
    ("method", "path", "query", "act"),
    [
        ("GET", CONFIGS, {}, Act("list", "", "configmaps", "", "shop")),
        ("GET", CONFIGS, {"watch": "1"}, Act("watch", "", "configmaps", "", "shop")),
        ("GET", "/api/v1/configmaps", {}, Act("list", "", "configmaps")),
        ("POST", CONFIGS, {}, Act("create", "", "configmaps", "", "shop")),
        ("DELETE", CONFIGS, {}, Act("deletecollection", "", "configmaps", "", "shop")),
        ("GET", f"{CONFIGS}/c", {"watch": "1"}, Act("get", "", "configmaps", "", "shop", "c")),
        ("HEAD", f"{CONFIGS}/c", {}, Act("get", "", "configmaps", "", "shop", "c")),
        ("PUT", f"{CONFIGS}/c", {}, Act("update", "", "configmaps", "", "shop", "c")),
        ("PATCH", f"{CONFIGS}/c", {}, Act("patch", "", "configmaps", "", "shop", "c")),
        ("DELETE", f"{CONFIGS}/c", {}, Act("delete", "", "configmaps", "", "shop", "c")),
        ("BREW", f"{CONFIGS}/c", {}, Act("brew", "", "configmaps", "", "shop", "c")),
        ("POST", "/apis/g/v1/namespaces/n/things/t/part", {}, Act("create", "g", "things", "part", "n", "t")),
        ("GET", "/api/v1/namespaces", {}, Act("list", "", "namespaces")),
        ("GET", "/api/v1/namespaces/shop", {}, Act("get", "", "namespaces", "", "shop", "shop")),
        ("PUT", "/api/v1/namespaces/shop/finalize", {}, Act("update", "", "namespaces", "finalize", "shop", "shop")),
    ],
)
def test_methods_and_paths_to_acts(method: str, path: str, query: dict[str, str], act: Act) -> None:
    assert resource_act(method, parsed(path), query) == act


@pytest.mark.parametrize(
    ("selector", "name"),
    [("metadata.name=c", "c"), ("metadata.name!=c", ""), ("metadata.namespace=x,metadata.name=c", "c"), ("bad", "")],
)
@pytest.mark.parametrize(("method", "watch"), [("GET", ""), ("GET", "true"), ("DELETE", "")])
def test_a_collection_of_one_name_counts_as_that_object(method: str, watch: str, selector: str, name: str) -> None:
    assert resource_act(method, parsed(CONFIGS), {"watch": watch, "fieldSelector": selector}).name == name


def parsed(path: str) -> ResourcePath:
    found: Any = parse_path(path)
    assert isinstance(found, ResourcePath)
    return found
