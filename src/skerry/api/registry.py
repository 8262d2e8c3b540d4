"""Every kind that Skerry knows: one line each, in the order that discovery lists them."""

from collections.abc import Mapping
from typing import Any

from skerry.api.apiextensions_v1 import CUSTOM_RESOURCE_DEFINITION
from skerry.api.apoxy_core_v1alpha2 import BACKEND
from skerry.api.apoxy_extensions_direct_response import DIRECT_RESPONSE
from skerry.api.authentication_v1alpha1 import TOKEN
from skerry.api.baetyl_applications import APPLICATION
from skerry.api.baetyl_configurations import CONFIGURATION
from skerry.api.baetyl_node_commands import NODE_COMMAND
from skerry.api.baetyl_registration import CALLBACK, PRODUCT, RECORD
from skerry.api.baetyl_rollouts import ROLLOUT
from skerry.api.baetyl_traffic import TRAFFIC_REPORT
from skerry.api.baetyl_v1alpha1 import NODE, NODE_REPORT
from skerry.api.coordination_v1 import LEASE
from skerry.api.core_service_account_v1 import SERVICE_ACCOUNT
from skerry.api.core_v1 import CONFIG_MAP, EVENT, NAMESPACE, SECRET
from skerry.api.dispatch_drivers import EVENT_DRIVER, EVENT_DRIVER_TYPE
from skerry.api.dispatch_endpoints import ENDPOINT
from skerry.api.dispatch_events import SUBSCRIPTION
from skerry.api.dispatch_images import BASE_IMAGE, IMAGE
from skerry.api.dispatch_services import SERVICE_BROKER, SERVICE_CLASS, SERVICE_INSTANCE
from skerry.api.dispatch_v1 import FUNCTION, RUN
from skerry.api.egress_policy_v1alpha1 import EGRESS_POLICY
from skerry.api.extensions_v1alpha2 import EDGE_FUNCTION, EDGE_FUNCTION_REVISION
from skerry.api.gateway_http_route_v1 import HTTP_ROUTE
from skerry.api.gateway_v1 import GATEWAY, GATEWAY_CLASS
from skerry.api.istio_authorization_policy_v1 import AUTHORIZATION_POLICY
from skerry.api.istio_extensions_v1alpha1 import WASM_PLUGIN
from skerry.api.istio_request_authentication_v1 import REQUEST_AUTHENTICATION
from skerry.api.kinds import Kind
from skerry.api.rbac_v1 import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING

KINDS: tuple[Kind[Any], ...] = (
    NAMESPACE,
    SECRET,
    CONFIG_MAP,
    EVENT,
    SERVICE_ACCOUNT,
    LEASE,
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    ROLE,
    ROLE_BINDING,
    CUSTOM_RESOURCE_DEFINITION,
    TOKEN,
    EDGE_FUNCTION,
    EDGE_FUNCTION_REVISION,
    DIRECT_RESPONSE,
    EGRESS_POLICY,
    WASM_PLUGIN,
    REQUEST_AUTHENTICATION,
    AUTHORIZATION_POLICY,
    BACKEND,
    GATEWAY_CLASS,
    GATEWAY,
    HTTP_ROUTE,
    FUNCTION,
    RUN,
    SUBSCRIPTION,
    EVENT_DRIVER,
    EVENT_DRIVER_TYPE,
    ENDPOINT,
    BASE_IMAGE,
    IMAGE,
    SERVICE_BROKER,
    SERVICE_CLASS,
    SERVICE_INSTANCE,
    NODE,
    NODE_REPORT,
    NODE_COMMAND,
    TRAFFIC_REPORT,
    APPLICATION,
    CONFIGURATION,
    ROLLOUT,
    PRODUCT,
    RECORD,
    CALLBACK,
)

#: Those of them, by resource, that clients look for among the definitions of custom kinds: all that a Kubernetes
#: without us would not know.
DEFINED_KINDS: Mapping[str, Kind[Any]] = {
    kind.resource: kind
    for kind in KINDS
    if kind.group and not kind.core_semantics and kind is not CUSTOM_RESOURCE_DEFINITION
}


def kind_of(model: type[Any]) -> Kind[Any]:
    """Return the declaration of a model; raises KeyError for a class that is no kind."""
    return _BY_MODEL[model]


def find_kind(api_version: str, kind: str) -> Kind[Any] | None:
    """Return the kind that a document's apiVersion and kind name, or None."""
    return _BY_NAME.get((api_version, kind))


def find_resource(group: str, version: str, plural: str) -> Kind[Any] | None:
    """Return the kind that a path names, or None."""
    return _BY_PATH.get((group, version, plural))


_BY_MODEL = {kind.model: kind for kind in KINDS}
_BY_NAME = {(kind.api_version, kind.kind): kind for kind in KINDS}
_BY_PATH = {(kind.group, kind.version, kind.plural): kind for kind in KINDS}
