"""What a request wants to do, read from its method and path alone: the question that `access` answers.

Rules: k8s.io/apiserver, RequestInfoFactory. They hold for every path below a version, whether anything is served
there or not: who may not do a thing is not told whether there is anything to do it to.
"""

from skerry.api.selectors import SelectorError, parse_field_selector
from skerry.server.access import Act
from skerry.server.kube.options import Query, wants_watch
from skerry.server.kube.paths import ResourcePath

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_COLLECTION_VERBS = {"get": "list", "delete": "deletecollection"}


def resource_act(method: str, path: ResourcePath, query: Query) -> Act:
    """Return what a request for a resource wants to do; raises BadRequest for a `watch` that is no boolean.

    A collection that is narrowed to one name by its field selector counts as that object, so that a rule with
    resourceNames allows `kubectl get NAME --watch`. A namespace is in itself, so that a role in it allows reading it.
    """
    verb, name = _VERBS.get(method, method.lower()), path.name
    if not name and verb in _COLLECTION_VERBS:
        verb = "watch" if verb == "get" and wants_watch(query) else _COLLECTION_VERBS[verb]
        name = _selected_name(query)
    namespace = path.name if (path.group, path.plural) == ("", "namespaces") else path.namespace
    return Act(verb, path.group, path.plural, path.subresource, namespace, name)


def _selected_name(query: Query) -> str:
    selector = query.get("fieldSelector")
    if not selector:
        return ""
    try:
        return parse_field_selector(selector).value_of("metadata.name") or ""
    except SelectorError:
        return ""  # refused where it is read as an option
