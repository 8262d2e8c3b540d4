"""The OpenAPI document, and the page that is made of it."""

from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any, cast

import pytest
from jsonschema_rs import Draft202012Validator

from skerry.main.functions import Dispatching, dispatch_door, dispatch_operations
from skerry.server.dispatch.docs_page import docs_page
from skerry.server.dispatch.door import DispatchDoor, Operation
from skerry.server.dispatch.openapi import openapi_document

NOTHING = cast("Any", None)


@pytest.fixture(scope="module")
def door() -> DispatchDoor:
    behind = Dispatching(NOTHING, NOTHING, NOTHING, NOTHING)
    return dispatch_door(NOTHING, NOTHING, NOTHING, behind)


@pytest.fixture(scope="module")
def document() -> Any:
    return openapi_document(dispatch_operations(NOTHING, Dispatching(NOTHING, NOTHING, NOTHING, NOTHING)))


def references(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        for name, value in document.items():
            yield from [value] if name == "$ref" else references(value)
    elif isinstance(document, list):
        for value in document:
            yield from references(value)


def test_every_route_of_the_door_is_described(door: DispatchDoor, document: Any) -> None:
    told = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    pages = {("GET", "/docs"), ("GET", "/v1/openapi.json")}
    routes = {(route.method, route.path) for route in door.routes()}
    assert routes - pages == {(method, path) for method, path in told if method != "PARAMETERS"}
    assert pages <= routes


def test_every_operation_says_what_it_does_and_has_an_id_of_its_own(document: Any) -> None:
    operations = [o for item in document["paths"].values() for method, o in item.items() if method != "parameters"]
    assert all(operation["summary"] for operation in operations)
    assert len({operation["operationId"] for operation in operations}) == len(operations)


def test_every_reference_leads_to_a_schema_that_is_one(document: Any) -> None:
    schemas = document["components"]["schemas"]
    assert {each.removeprefix("#/components/schemas/") for each in references(document)} <= set(schemas)
    for name in schemas:
        Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": document["components"]})


def test_what_is_kept_is_in_no_answer(document: Any) -> None:
    function = document["components"]["schemas"]["Function"]["properties"]
    assert {"name", "schema", "faasId", "status"} <= set(function)
    assert not {"source", "code", "main", "sourceURL"} & set(function)


def test_an_operation_of_a_kind_that_is_not_described_is_refused() -> None:
    class Unknown:
        resource = "unknowns.example.com"

    async def handler(_: Any) -> Any:
        raise NotImplementedError

    with pytest.raises(KeyError, match=r"unknowns\.example\.com"):
        openapi_document([Operation("GET", "/v1/unknown", "list", cast("Any", Unknown()), handler)])


class Links(HTMLParser):
    """Collects what a page leads to, and what it has."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.ids: set[str] = set()
        self.tags: set[str] = set()
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        self.links |= {given["href"] or ""} if "href" in given else set()
        self.ids |= {given["id"] or ""} if "id" in given else set()


def test_the_page_leads_to_its_own_schemas_and_to_the_document_and_nowhere_else(document: Any) -> None:
    page = Links(docs_page(document))
    assert {link for link in page.links if not link.startswith("#")} == {"/v1/openapi.json"}
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids
    assert not {"script", "link", "img", "iframe"} & page.tags
    assert set(document["components"]["schemas"]) == page.ids
