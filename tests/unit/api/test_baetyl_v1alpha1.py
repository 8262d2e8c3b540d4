"""The kinds of a fleet: what they complete, and what they refuse by path and message."""

from typing import Any

import pytest

from skerry.api.baetyl_applications import APPLICATION, Application
from skerry.api.baetyl_configurations import CONFIGURATION, Configuration
from skerry.api.baetyl_v1alpha1 import NODE, Node
from skerry.api.core_v1 import SECRET
from skerry.api.decoding import complete, decode
from skerry.api.errors import Invalid
from skerry.api.kinds import Kind
from skerry.api.model import Document

SERVICE: Document = {"name": "web", "image": "nginx"}


def completed(kind: Kind[Any], document: Document, old: Document | None = None) -> Any:
    """Return an object as it would be stored."""
    whole = {"metadata": {"name": "thing", "namespace": "default"}, **document}
    obj = decode(kind, whole).object
    complete(kind, obj, None if old is None else completed(kind, old))
    return obj


def problems(kind: Kind[Any], document: Document, old: Document | None = None) -> dict[str, str]:
    """Return what is wrong with an object: messages by path."""
    with pytest.raises(Invalid) as refused:
        completed(kind, document, old)
    return {cause["field"]: cause["message"] for cause in refused.value.details["causes"]}


def named(name: str, **labels: str) -> Document:
    return {"metadata": {"name": name, "namespace": "default", "labels": labels}}


def application(**spec: Any) -> Document:
    return {"spec": {"services": [SERVICE], **spec}}


def test_a_node_carries_the_systems_labels_whatever_a_client_says() -> None:
    given = named("edge-1", site="lyon", **{"baetyl-node-name": "other", "baetyl-accelerator": "fake"})
    node: Node = completed(NODE, {**given, "spec": {"accelerator": "nvidia", "nodeMode": "native"}})
    assert node.metadata.labels == {
        "site": "lyon",
        "baetyl-node-name": "edge-1",
        "baetyl-node-mode": "native",
        "baetyl-cluster": "false",
        "baetyl-accelerator": "nvidia",
    }


@pytest.mark.parametrize(
    ("document", "path", "message"),
    [
        ({"metadata": {"name": "a"}}, "metadata.name", "at least 2 characters"),
        ({"metadata": {"name": "a" * 64}}, "metadata.name", "63 characters"),
        ({"spec": {"accelerator": "abacus"}}, "spec.accelerator", "supported values"),
        ({"spec": {"sysApps": ["baetyl-core"]}}, "spec.sysApps[0]", "supported values"),
        ({"spec": {"nodeMode": "desktop"}}, "spec.nodeMode", "supported values"),
        ({"spec": {"core": {"frequency": 301}}}, "spec.core.frequency", "less than or equal to 300"),
        ({"spec": {"properties": {"": {"value": "x"}}}}, "spec.properties", "needs a name"),
        ({"spec": {"properties": {f"p{n}": {"value": ""} for n in range(201)}}}, "spec.properties", "at most 200"),
    ],
)
def test_nodes_refuse(document: Document, path: str, message: str) -> None:
    assert message in problems(NODE, document)[path]


def test_a_node_keeps_the_mode_that_it_was_made_with() -> None:
    assert "can't be changed" in problems(NODE, {"spec": {"nodeMode": "native"}}, {})["spec.nodeMode"]


def test_nodes_may_be_called_after_baetyl_and_other_kinds_only_where_the_system_made_them() -> None:
    assert completed(NODE, named("baetyl-box")).name == "baetyl-box"
    system = {"baetyl-cloud-system": "true"}
    assert completed(CONFIGURATION, named("baetyl-core-conf", **system)).name == "baetyl-core-conf"
    for kind, document in ((CONFIGURATION, {}), (APPLICATION, application())):
        assert "baetyl" in problems(kind, {**named("my-baetyl"), **document})["metadata.name"]


@pytest.mark.parametrize(
    ("spec", "path", "message"),
    [
        ({"type": "vm"}, "spec.type", "supported values"),
        ({"selector": "a in ("}, "spec.selector", "Invalid value"),
        ({"selector": f"a={'x' * 64}"}, "spec.selector", "63 characters"),
        ({"workload": "pod"}, "spec.workload", "supported values"),
        ({"services": [{"name": "web"}]}, "spec.services[0].image", "needs it"),
        ({"services": [{"name": "Web", "image": "i"}]}, "spec.services[0].name", "RFC 1123 label"),
        ({"services": [SERVICE, SERVICE]}, "spec.services[1].name", "Duplicate"),
        ({"volumes": [{"name": "v", "emptyDir": {}}] * 2}, "spec.volumes[1].name", "Duplicate"),
        ({"volumes": [{"name": "v"}]}, "spec.volumes[0]", "exactly one of"),
        (
            {"services": [{**SERVICE, "volumeMounts": [{"name": "v"}]}]},
            "spec.services[0].volumeMounts[0].name",
            "no volume of this name",
        ),
        (
            {"services": [{**SERVICE, "functionConfig": {"runtime": "python3"}}]},
            "spec.services[0].functionConfig",
            "only function applications",
        ),
        (
            {"services": [{**SERVICE, "functions": [{"name": "f"}]}]},
            "spec.services[0].functions",
            "only function applications",
        ),
        ({"type": "function"}, "spec.services[0].functionConfig", "needs it"),
        (
            {"type": "function", "services": [{"name": "f", "functionConfig": {"runtime": "cobol"}}]},
            "spec.services[0].functionConfig.runtime",
            "supported values",
        ),
        ({"type": "function", "registries": [{"name": "r"}]}, "spec.registries", "no images of its own"),
        ({"mode": "native", "services": [{"name": "web"}]}, "spec.services[0].programConfig", "needs a program"),
        (
            {"services": [{**SERVICE, "ports": [{"hostPort": 80}], "replica": 2}]},
            "spec.services[0].ports[0].hostPort",
            "replica may not be above 1",
        ),
        (
            {"services": [{**SERVICE, "ports": [{"hostPort": 80}, {"hostPort": 80}]}]},
            "spec.services[0].ports[1].hostPort",
            "Duplicate",
        ),
        (
            {"services": [{**SERVICE, "ports": [{"serviceType": "NodePort"}]}]},
            "spec.services[0].ports[0].nodePort",
            "above 0",
        ),
        (
            {"services": [{**SERVICE, "ports": [{"hostPort": 70000}]}]},
            "spec.services[0].ports[0].hostPort",
            "less than or equal to 65535",
        ),
        (
            {"services": [{**SERVICE, "resources": {"limits": {"memory": "512a"}}}]},
            "spec.services[0].resources.limits[memory]",
            "must be a quantity",
        ),
        ({"cronStatus": 1}, "spec.cronTime", "cronStatus is 1"),
        ({"autoScaleCfg": {"minReplicas": 0, "maxReplicas": 1}}, "spec.autoScaleCfg.minReplicas", "above 0"),
        ({"autoScaleCfg": {"minReplicas": 3, "maxReplicas": 1}}, "spec.autoScaleCfg.maxReplicas", "not be below"),
        (
            {
                "autoScaleCfg": {
                    "minReplicas": 1,
                    "maxReplicas": 1,
                    "metrics": [{"resource": {"name": "disk"}}],
                }
            },
            "spec.autoScaleCfg.metrics[0].resource.name",
            "supported values",
        ),
    ],
)
def test_applications_refuse(spec: Document, path: str, message: str) -> None:
    assert message in problems(APPLICATION, application(**spec))[path]


def test_the_same_port_of_a_machine_is_free_for_another_protocol() -> None:
    ports = [{"hostPort": 53}, {"hostPort": 53, "protocol": "UDP"}]
    assert completed(APPLICATION, application(services=[{**SERVICE, "ports": ports}]))


def test_quantities_are_those_of_kubernetes() -> None:
    limits = {"cpu": "0.5", "memory": "128Mi", "nvidia.com/gpu": "1"}
    resources = {"limits": limits, "requests": {"cpu": "500m", "memory": "1024"}}
    assert completed(APPLICATION, application(services=[{**SERVICE, "resources": resources}]))


def test_manifests_of_users_are_not_looked_into_but_keep_out_of_baetyls_namespaces() -> None:
    assert completed(APPLICATION, {"spec": {"type": "helm", "services": [{"name": "Any"}]}})
    labelled = named("chart", **{"baetyl-custom-namespace": "baetyl-edge"})
    found = problems(APPLICATION, {**labelled, "spec": {"type": "helm"}})
    assert "Baetyl's own" in found["metadata.labels[baetyl-custom-namespace]"]


def test_an_application_keeps_its_type_and_its_name_leaves_room_for_a_suffix() -> None:
    assert "can't be changed" in problems(APPLICATION, {"spec": {"type": "helm"}}, application())["spec.type"]
    assert "55 characters" in problems(APPLICATION, {**named("a" * 56), **application()})["metadata.name"]


@pytest.mark.parametrize(
    ("document", "path", "message"),
    [
        ({"data": {"a/b": "x"}}, "data[a/b]", "valid config key"),
        ({"data": {"_object_x": "x"}}, "data[_object_x]", "may not begin"),
        ({"data": {"x": "x"}, "objects": {"x": {"source": "awss3"}}}, "data[x]", "duplicate"),
        ({"objects": {"x": {"source": ""}}}, "objects.x.source", "at least 1 character"),
        ({"objects": {"x": {"source": "http"}}}, "objects[x].url", "the source is http"),
        ({"objects": {"x": {"source": "http", "url": "file:///x"}}}, "objects[x].url", "must begin with"),
        ({"objects": {"x": {"source": "awss3", "unpack": "rar"}}}, "objects[x].unpack", "supported values"),
        ({"objects": {"x": {"source": "awss3", "object": "o"}}}, "objects[x].bucket", "without a url needs it"),
        ({"objects": {"x": {"source": "awss3", "ak": "k"}}}, "objects[x].sk", "go together"),
        ({"objects": {"x": {"type": "function", "source": "awss3"}}}, "objects[x].handler", "needs it"),
    ],
)
def test_configurations_refuse(document: Document, path: str, message: str) -> None:
    assert message in problems(CONFIGURATION, document)[path]


def test_the_keys_of_a_storage_are_kept_while_the_object_stays_there() -> None:
    item = {"source": "awss3", "bucket": "b", "object": "o", "endpoint": "https://s3.example", "ak": "a", "sk": "s"}
    shown = {name: value for name, value in item.items() if name not in {"ak", "sk"}}
    kept: Configuration = completed(CONFIGURATION, {"objects": {"x": shown}}, {"objects": {"x": item}})
    moved = {**shown, "endpoint": "https://elsewhere.example"}
    lost: Configuration = completed(CONFIGURATION, {"objects": {"x": moved}}, {"objects": {"x": item}})
    assert kept.objects
    assert (kept.objects["x"].ak, kept.objects["x"].sk) == ("a", "s")
    assert lost.objects
    assert lost.objects["x"].ak is None


def test_secrets_of_a_type_have_its_keys() -> None:
    data = {"address": "YQ==", "username": "YQ==", "password": "YQ=="}
    assert completed(SECRET, {**named("hub", **{"secret-type": "registry"}), "data": data})
    assert completed(SECRET, {**named("any"), "data": {}})
    assert "needs it" in problems(SECRET, named("hub", **{"secret-type": "registry"}))["data[password]"]
    found = problems(SECRET, named("hub", **{"secret-type": "riddle"}))
    assert "supported values" in found["metadata.labels[secret-type]"]


def test_a_model_of_an_application_reads_what_it_writes() -> None:
    stored: Application = completed(APPLICATION, application(type="container", selector="site in (lyon, oslo)"))
    assert stored.spec.services
    assert stored.spec.services[0].replica == 1
