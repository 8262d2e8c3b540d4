"""Applications with all that follows from what users wrote."""

from typing import Any

import orjson

from skerry.api.baetyl_applications import Application
from skerry.api.model import from_document
from skerry.fleet.applications import (
    completed,
    delivered,
    facts_of,
    generated_configurations,
    written_by_user,
)
from skerry.fleet.index import Source

CODE = {"name": "code", "runtime": "python3"}
FUNCTION = {
    "name": "fun",
    "functionConfig": CODE,
    "functions": [{"name": "hello", "handler": "index.handler", "codedir": "src"}],
}


def application(uid: str = "u-1", **spec: Any) -> Application:
    metadata = {"name": "App-1".lower(), "namespace": "default", "uid": uid, "resourceVersion": "7"}
    return from_document(Application, {"metadata": metadata, "spec": spec})


def functions(**service: Any) -> Application:
    return application(type="function", selector="site=lyon", services=[{**FUNCTION, **service}])


def test_what_says_everything_is_complete() -> None:
    plain = application(services=[{"name": "web", "image": "nginx"}])
    assert completed(plain) is plain
    assert generated_configurations(plain) == {}


def test_functions_are_told_to_their_runtime_in_a_configuration_of_their_own() -> None:
    ((name, data),) = generated_configurations(functions()).items()
    assert name.startswith("baetyl-function-config-app-1-fun-")
    assert orjson.loads(data["conf.yml"]) == {
        "functions": [{"name": "hello", "handler": "index.handler", "codedir": "src"}]
    }
    ((again, _),) = generated_configurations(application("u-2", type="function", services=[FUNCTION])).items()
    assert again != name


def test_completing_keeps_the_stored_application_and_can_be_undone() -> None:
    stored = functions()
    before = stored.model_copy(deep=True)
    whole = completed(stored)
    assert stored == before
    assert [volume.name for volume in whole.spec.volumes or ()] == [
        "baetyl-function-config-fun",
        "baetyl-function-code-code",
    ]
    assert written_by_user(whole.spec) == stored.spec


def test_code_that_is_mounted_by_the_user_is_not_mounted_again() -> None:
    mount = {"name": "mine", "mountPath": "/var/lib/baetyl/code"}
    (service,) = completed(functions(volumeMounts=[mount])).spec.services or []
    assert [each.mount_path for each in service.volume_mounts or ()] == ["/var/lib/baetyl/code", "/etc/baetyl"]


def test_programs_of_native_nodes_are_mounted() -> None:
    native = application(mode="native", services=[{"name": "web", "programConfig": {"name": "program"}}])
    (service,) = completed(native).spec.services or []
    assert [each.mount_path for each in service.volume_mounts or ()] == ["/var/lib/baetyl/bin"]
    assert facts_of(native).mounts == {Source("configuration", "default", "program")}


def test_an_application_can_not_run_without_what_it_mounts_and_its_registries() -> None:
    volumes = [
        {"name": "a", "config": {"name": "conf"}},
        {"name": "b", "secret": {"name": "key"}},
        {"name": "c", "emptyDir": {}},
    ]
    found = facts_of(application(selector="site", volumes=volumes, registries=[{"name": "hub"}]))
    assert (found.revision, found.system) == (7, False)
    assert found.mounts == {
        Source("configuration", "default", "conf"),
        Source("secret", "default", "key"),
        Source("secret", "default", "hub"),
    }
    assert facts_of(functions()).mounts == {Source("configuration", "default", "code")}


def test_a_selector_that_can_not_be_read_binds_to_nothing() -> None:
    assert not facts_of(application(selector="a in (")).selector


def test_nodes_are_told_the_versions_of_all_that_they_mount() -> None:
    stored = functions()
    stored.spec.registries = application(registries=[{"name": "hub"}]).spec.registries
    revisions = {Source("configuration", "default", "code"): 3, Source("secret", "default", "hub"): 9}
    value = delivered(stored, 9, revisions)
    told = {volume["name"]: volume.get("config") or volume.get("secret") for volume in value["volumes"]}
    assert (value["name"], value["version"], value["type"]) == ("app-1", "9", "function")
    assert told["baetyl-function-code-code"] == {"name": "code", "version": "3"}
    assert told["hub"] == {"name": "hub", "version": "9"}
    assert told["baetyl-function-config-fun"]["version"] == "9"
    assert value["services"][0]["image"].startswith("hub.baidubce.com/baetyl/function-python")
