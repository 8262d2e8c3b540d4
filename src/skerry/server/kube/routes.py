"""Everything that may be asked of the Kubernetes door, as routes: one list for the table of who may. Pure."""

from collections.abc import Iterator

from skerry.server.http import Route
from skerry.server.kube.discovery import Resource, subresource_verbs

#: What tells about the API itself.
ABOUT_THE_API = tuple(
    Route("GET", path)
    for path in (
        "/version",
        "/api",
        "/api/{version}",
        "/apis",
        "/apis/{group}",
        "/apis/{group}/{version}",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/{document}",
    )
)

_METHODS = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
    "deletecollection": "DELETE",
}
_ON_COLLECTIONS = frozenset({"list", "watch", "create", "deletecollection"})
_READ_EVERYWHERE = ("list", "watch")


def routes_of(resource: Resource) -> Iterator[Route]:
    """Yield the routes of one resource and its subresources."""
    root = f"/apis/{resource.group_version}" if resource.group else f"/api/{resource.version}"
    collection = f"{root}/namespaces/{{namespace}}/{resource.plural}" if resource.namespaced else _flat(root, resource)
    one = f"{collection}/{{name}}"
    for verb in resource.verbs:
        yield Route(_METHODS[verb], collection if verb in _ON_COLLECTIONS else one, watch=verb == "watch")
        if resource.namespaced and verb in _READ_EVERYWHERE:
            yield Route(_METHODS[verb], _flat(root, resource), watch=verb == "watch")
    for subresource in resource.subresources:
        for verb in subresource_verbs(subresource):
            yield Route(_METHODS[verb], f"{one}/{subresource}")


def _flat(root: str, resource: Resource) -> str:
    return f"{root}/{resource.plural}"
