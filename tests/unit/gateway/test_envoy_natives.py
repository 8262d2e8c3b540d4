"""Native filters in Envoy's words; those of the Go filter too, which no Envoy of ours runs."""

from google.protobuf.json_format import MessageToDict

from skerry.gateway import ir
from skerry.gateway.envoy_plugins import extension, plugin_filter
from skerry.gateway.envoy_routes import route_configuration

STRUCT = "type.googleapis.com/google.protobuf.Struct"
TYPED = "type.googleapis.com/xds.type.v3.TypedStruct"
GO = "type.googleapis.com/envoy.extensions.filters.http.golang.v3alpha"
MODULE = "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter"


def native(loader: ir.NativeLoader, configuration: str = "") -> ir.Native:
    return ir.Native(loader, "/code/abc.so", "greet", configuration)


def filter_of(content: ir.Native) -> object:
    return MessageToDict(extension(ir.Plugin("p", "http", content)), preserving_proto_field_name=True)["typed_config"]


def route_of(content: ir.Native, configuration: str) -> object:
    use = ir.FilterUse("p", content.on_route(configuration))
    route = ir.Route("r", ir.EVERYTHING, ir.Respond(200), filters=(use,))
    table = route_configuration(ir.RouteTable("t", (ir.VirtualHost("*", (route,)),)))
    document = MessageToDict(table, preserving_proto_field_name=True)
    return document["virtual_hosts"][0]["routes"][0]["typed_per_filter_config"]["p"]["config"]


def test_a_go_plugin_is_given_a_struct_in_an_any() -> None:
    assert filter_of(native("go", '{"a":{"b":[1]}}')) == {
        "@type": TYPED,
        "type_url": f"{GO}.Config",
        "value": {
            "library_id": "/code/abc.so",
            "library_path": "/code/abc.so",
            "plugin_name": "greet",
            "plugin_config": {"@type": STRUCT, "value": {"a": {"b": [1.0]}}},
        },
    }
    assert route_of(native("go"), '{"a":1}') == {
        "@type": TYPED,
        "type_url": f"{GO}.ConfigsPerRoute",
        "value": {"plugins_config": {"greet": {"config": {"@type": STRUCT, "value": {"a": 1.0}}}}},
    }


def test_a_dynamic_module_is_given_the_same_and_is_never_unloaded() -> None:
    module = {"module": {"local": {"filename": "/code/abc.so"}}, "do_not_close": True}
    assert filter_of(native("dynamic_module")) == {
        "@type": TYPED,
        "type_url": MODULE,
        "value": {"dynamic_module_config": module, "filter_name": "greet"},
    }
    assert route_of(native("dynamic_module"), '{"a":1}') == {
        "@type": TYPED,
        "type_url": f"{MODULE}PerRoute",
        "value": {
            "dynamic_module_config": module,
            "filter_name": "greet",
            "filter_config": {"@type": STRUCT, "value": {"a": 1.0}},
        },
    }


def test_without_a_configuration_a_route_turns_the_filter_on_and_gives_it_nothing() -> None:
    assert native("go").on_route("") is None
    assert route_of(native("go"), "") == {}


def test_a_place_takes_what_loads_there_and_its_stand_in_alone() -> None:
    for loader, wanted in (("go", f"{GO}.Config"), ("dynamic_module", MODULE)):
        place = plugin_filter(ir.PluginUse("p", "deny", loader))  # type: ignore[arg-type]  # both are loaders
        types = list(place.config_discovery.type_urls)
        assert types == [wanted, "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"]
