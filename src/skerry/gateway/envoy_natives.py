"""Native filters in Envoy's words: shared objects that its dynamic modules, or its Go filter, load.

The messages go as `TypedStruct`: of dynamic modules the message package knows an older form, of the Go filter none,
because it is one of Envoy's contrib extensions.

Envoy's traps that this module knows, each from Envoy's source:

- A module is known by its path for the life of the process: so the path has the digest of its content.
- A module with threads of its own, as every one in Go has, may not be unloaded (`do_not_close`).
- The configuration is handed on as JSON to dynamic modules, and as a serialised Any to Go plugins.
"""

from typing import Any

import orjson
from google.protobuf.struct_pb2 import Struct
from xds.type.v3.typed_struct_pb2 import TypedStruct

from skerry.gateway import ir

_PREFIX = "type.googleapis.com/"
MODULE_TYPE = "envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter"
_MODULE_ROUTE_TYPE = f"{MODULE_TYPE}PerRoute"
GO_TYPE = "envoy.extensions.filters.http.golang.v3alpha.Config"
_GO_ROUTE_TYPE = "envoy.extensions.filters.http.golang.v3alpha.ConfigsPerRoute"


def native_filter(native: ir.Native) -> TypedStruct:
    """Write what a native filter is."""
    config = _struct_in_any(native.configuration) if native.configuration else None
    if native.loader == "go":
        go = {"library_id": native.code, "library_path": native.code, "plugin_name": native.name}
        return _typed(GO_TYPE, go | ({"plugin_config": config} if config else {}))
    return _typed(MODULE_TYPE, _module(native.code, native.name) | ({"filter_config": config} if config else {}))


def native_route(route: ir.NativeRoute) -> TypedStruct:
    """Write what it is given on one route."""
    config = _struct_in_any(route.configuration)
    if route.loader == "go":
        return _typed(_GO_ROUTE_TYPE, {"plugins_config": {route.name: {"config": config}}})
    return _typed(_MODULE_ROUTE_TYPE, _module(route.code, route.name) | {"filter_config": config})


def _module(code: str, name: str) -> dict[str, Any]:
    module = {"module": {"local": {"filename": code}}, "do_not_close": True}
    return {"dynamic_module_config": module, "filter_name": name}


def _struct_in_any(configuration: str) -> dict[str, Any]:
    return {"@type": f"{_PREFIX}{Struct.DESCRIPTOR.full_name}", "value": orjson.loads(configuration)}


def _typed(name: str, fields: dict[str, Any]) -> TypedStruct:
    message = TypedStruct(type_url=f"{_PREFIX}{name}")
    message.value.update(fields)
    return message


__all__ = ["GO_TYPE", "MODULE_TYPE", "native_filter", "native_route"]
