"""Plugins in Envoy's words: filters that are discovered by name (ECDS), and what they are.

A listener names a plugin's filter and holds nothing of it but the stand-in for the time before Envoy has taken the
plugin once. So a new configuration, or new code, is one changed resource: no listener changes, no connection drains.

Envoy's traps that this module knows, each from Envoy's source or seen in a real one:

- Envoy keeps a VM by the hash of its id, its configuration and its code, but not of its environment: so the
  environment is part of the id, or a changed one would not arrive.
- Without a default configuration, a listener whose plugin is refused would wait for ever.
"""

import hashlib
from collections.abc import Sequence

from envoy.config.core.v3.config_source_pb2 import ExtensionConfigSource
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.config.rbac.v3 import rbac_pb2 as rules_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_rbac_pb2
from envoy.extensions.filters.http.wasm.v3 import wasm_pb2 as http_wasm_pb2
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network_rbac_pb2
from envoy.extensions.filters.network.wasm.v3 import wasm_pb2 as network_wasm_pb2
from envoy.extensions.wasm.v3 import wasm_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue

from skerry.gateway import ir
from skerry.gateway.envoy_natives import GO_TYPE, MODULE_TYPE, native_filter
from skerry.gateway.envoy_words import ads, any_of

_RUNTIME = "envoy.wasm.runtime.v8"
_ON_TRAP = {
    "deny": wasm_pb2.FAIL_CLOSED,
    "allow": wasm_pb2.FAIL_OPEN,
    "reload": wasm_pb2.FAIL_RELOAD,
}
#: What a filter of each layer may turn out to be.
_TYPES: dict[ir.PluginLayer, tuple[type[Message], ...]] = {
    "http": (http_wasm_pb2.Wasm, http_rbac_pb2.RBAC),
    "network": (network_wasm_pb2.Wasm, network_rbac_pb2.RBAC),
}
#: The Go filter may be named only where Envoy has it: a listener that names an unknown type is refused.
_NATIVE_TYPES: dict[ir.NativeLoader, str] = {"dynamic_module": MODULE_TYPE, "go": GO_TYPE}


def plugin_filter(use: ir.PluginUse) -> HttpFilter:
    """Write the place of a plugin among HTTP filters."""
    return HttpFilter(name=use.plugin, config_discovery=_discovery("http", use))


def network_filters(uses: Sequence[ir.PluginUse]) -> list[Filter]:
    """Write the places of plugins before the HTTP connection manager."""
    return [Filter(name=use.plugin, config_discovery=_discovery("network", use)) for use in uses]


def _discovery(layer: ir.PluginLayer, use: ir.PluginUse) -> ExtensionConfigSource:
    message = ExtensionConfigSource(
        config_source=ads(),
        default_config=any_of(_stand_in(layer, use.stand_in)),
        type_urls=[f"type.googleapis.com/{name}" for name in _type_names(layer, use)],
    )
    message.config_source.initial_fetch_timeout.FromSeconds(0)
    return message


def _type_names(layer: ir.PluginLayer, use: ir.PluginUse) -> list[str]:
    wasm, stand_in = (known.DESCRIPTOR.full_name for known in _TYPES[layer])
    return [wasm if use.loader == "wasm" else _NATIVE_TYPES[use.loader], stand_in]


def extension(plugin: ir.Plugin) -> TypedExtensionConfig:
    """Write what a plugin is."""
    message: Message
    match plugin.filter:
        case ir.Wasm() as module:
            config = _plugin_config(plugin.name, module)
            is_http = plugin.layer == "http"
            message = http_wasm_pb2.Wasm(config=config) if is_http else network_wasm_pb2.Wasm(config=config)
        case ir.Native() as native:
            message = native_filter(native)
        case stand_in:
            message = _stand_in(plugin.layer, stand_in)
    return TypedExtensionConfig(name=plugin.name, typed_config=any_of(message))


def _stand_in(layer: ir.PluginLayer, kind: ir.StandIn) -> Message:
    """Write a filter that refuses everything (no policy allows it), or one that lets everything pass."""
    rules = rules_pb2.RBAC(action=rules_pb2.RBAC.ALLOW) if kind == "deny" else None
    prefix = f"wasm-default-{kind}"
    message: Message
    if layer == "http":
        message = http_rbac_pb2.RBAC(rules=rules, rules_stat_prefix=prefix)
    else:
        message = network_rbac_pb2.RBAC(rules=rules, stat_prefix=prefix)
    return message


def _plugin_config(name: str, module: ir.Wasm) -> wasm_pb2.PluginConfig:
    message = wasm_pb2.PluginConfig(
        name=name,
        root_id=module.root_id,
        configuration=any_of(StringValue(value=module.configuration)) if module.configuration else AnyMessage(),
        failure_policy=_ON_TRAP[module.on_trap],
    )
    machine = message.vm_config
    machine.vm_id = _vm_id(name, module)
    machine.runtime = _RUNTIME
    machine.code.local.filename = module.code
    machine.environment_variables.host_env_keys.extend(module.host_environment)
    machine.environment_variables.key_values.update(module.environment)
    return message


def _vm_id(name: str, module: ir.Wasm) -> str:
    """A VM a plugin and environment."""
    if not (module.environment or module.host_environment):
        return name
    digest = hashlib.sha256(repr((module.environment, module.host_environment)).encode()).hexdigest()
    return f"{name}/{digest[:16]}"
