"""The python `kubernetes` client's typed API, as its users call it."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import kubernetes
import pytest
from kubernetes.informer import SharedInformer

from skerry.testing.api_server import ApiServer

pytestmark = pytest.mark.system

HOLD = "example.com/hold"


@pytest.fixture
def core(server: ApiServer) -> Any:
    loading: Any = kubernetes.config  # untyped
    client: Any = kubernetes.client
    return client.CoreV1Api(loading.new_client_from_config(str(server.kubeconfig)))


@contextmanager
def refused(code: int, told: str) -> Iterator[None]:
    """Insist that the call in the block is refused with a Status that says so."""
    with pytest.raises(kubernetes.client.ApiException) as error:
        yield
    status = json.loads(error.value.body or "")
    assert (error.value.status, status["code"]) == (code, code)
    assert told in status["message"]


def config(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}


def test_create_read_replace_list_and_delete(core: Any) -> None:
    created = core.create_namespaced_config_map("default", config("c", a="1"))
    assert created.metadata.uid
    (found,) = core.list_namespaced_config_map("default", label_selector="!x").items
    found.data = {"c": "3"}
    replaced = core.replace_namespaced_config_map("c", "default", found)
    assert replaced.data == {"c": "3"}
    with refused(409, "the object has been modified"):
        core.replace_namespaced_config_map("c", "default", found)
    core.delete_namespaced_config_map("c", "default")
    with refused(404, 'configmaps "c" not found'):
        core.read_namespaced_config_map("c", "default")


@pytest.mark.parametrize(
    ("media_type", "patch"),
    [
        ("application/json-patch+json", [{"op": "add", "path": "/data/b", "value": "2"}]),
        ("application/merge-patch+json", {"data": {"b": "2"}}),
        ("application/strategic-merge-patch+json", {"data": {"b": "2"}}),
        (None, {"data": {"b": "2"}}),  # the client chooses by the body
        (None, [{"op": "add", "path": "/data/b", "value": "2"}]),
    ],
)
def test_patch_of_each_type(core: Any, media_type: str | None, patch: Any) -> None:
    core.create_namespaced_config_map("default", config("c", a="1"))
    chosen = {"_content_type": media_type} if media_type else {}
    patched = core.patch_namespaced_config_map("c", "default", patch, **chosen)
    again = core.patch_namespaced_config_map("c", "default", patch, **chosen)
    assert patched.data == {"a": "1", "b": "2"}
    assert again.metadata.resource_version == patched.metadata.resource_version


def test_server_side_apply(core: Any) -> None:
    def apply(manager: str, **data: str) -> Any:
        body = {"apiVersion": "v1", "kind": "ConfigMap", **config("c", **data)}
        return core.patch_namespaced_config_map(
            "c", "default", body, field_manager=manager, _content_type="application/apply-patch+yaml"
        )

    assert apply("one", a="1").data == {"a": "1"}
    assert apply("two", b="2").data == {"a": "1", "b": "2"}
    with refused(409, 'conflict with "one": .data.a'):
        apply("two", a="3", b="2")
    assert apply("two").data == {"a": "1"}


def test_dry_run_stores_nothing(core: Any) -> None:
    shown = core.create_namespaced_config_map("default", config("c"), dry_run="All")
    assert shown.metadata.uid
    assert core.list_namespaced_config_map("default").items == []


def test_pages_add_up_to_the_list_as_it_was_at_the_first(core: Any) -> None:
    for number in range(7):
        core.create_namespaced_config_map("default", config(f"c{number}"))
    page = core.list_namespaced_config_map("default", limit=3)
    core.create_namespaced_config_map("default", config("c33"))
    core.delete_namespaced_config_map("c6", "default")
    version, names, left = page.metadata.resource_version, [], []
    while True:
        names += [item.metadata.name for item in page.items]
        left.append(page.metadata.remaining_item_count)
        token = page.metadata._continue
        if not token:
            break
        page = core.list_namespaced_config_map("default", limit=3, _continue=token)
        assert page.metadata.resource_version == version
    assert names == [f"c{number}" for number in range(7)]
    assert left == [4, 1, None]


def test_a_page_of_a_snapshot_that_is_gone_is_410(core: Any, forget_history: Callable[[], None]) -> None:
    for number in range(3):
        core.create_namespaced_config_map("default", config(f"c{number}"))
    token = core.list_namespaced_config_map("default", limit=1).metadata._continue
    core.create_namespaced_config_map("default", config("later"))
    forget_history()
    with refused(410, "start a new list"):
        core.list_namespaced_config_map("default", limit=1, _continue=token)


def test_delete_with_options(core: Any) -> None:
    owner = core.create_namespaced_config_map("default", config("owner"))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid}
    reference["blockOwnerDeletion"] = True
    core.create_namespaced_config_map(
        "default", {"metadata": {"name": "child", "ownerReferences": [reference], "finalizers": [HOLD]}}
    )
    options: Any = kubernetes.client.V1DeleteOptions
    with refused(409, "Precondition failed: UID"):
        core.delete_namespaced_config_map("owner", "default", body=options(preconditions={"uid": "other"}))
    core.delete_namespaced_config_map("owner", "default", dry_run="All")
    core.delete_namespaced_config_map("owner", "default", body=options(propagation_policy="Foreground"))
    held = core.read_namespaced_config_map("owner", "default").metadata
    assert held.finalizers == ["foregroundDeletion"]
    watcher, gone = watching(), []
    for event in watcher.stream(core.list_namespaced_config_map, "default"):
        if event["type"] == "DELETED":
            gone.append(event["object"].metadata.name)
        elif event["object"].metadata.name == "child" and event["object"].metadata.deletion_timestamp:
            core.patch_namespaced_config_map("child", "default", {"metadata": {"finalizers": None}})
        if "owner" in gone:
            watcher.stop()
    assert gone == ["child", "owner"]


def test_delete_collection_takes_what_is_selected(core: Any) -> None:
    for name, tier in (("a", "front"), ("b", "back"), ("c", "front")):
        core.create_namespaced_config_map("default", {"metadata": {"name": name, "labels": {"tier": tier}}})
    core.delete_collection_namespaced_config_map("default", label_selector="tier=front")
    assert [item.metadata.name for item in core.list_namespaced_config_map("default").items] == ["b"]


def test_secrets_and_events_fit_the_clients_models(core: Any) -> None:
    secret = core.create_namespaced_secret("default", {"metadata": {"name": "s"}, "stringData": {"a": "b"}})
    assert (secret.type, secret.data) == ("Opaque", {"a": "Yg=="})
    involved = {"kind": "Secret", "name": "s", "namespace": "default"}
    told = {"metadata": {"generateName": "s."}, "involvedObject": involved, "reason": "Made", "type": "Normal"}
    core.create_namespaced_event("default", {**told, "firstTimestamp": "2026-01-01T00:00:00Z"})
    (event,) = core.list_namespaced_event("default", field_selector="involvedObject.name=s").items
    assert (event.reason, event.first_timestamp.year) == ("Made", 2026)


def watching() -> Any:
    watch: Any = kubernetes.watch  # untyped
    return watch.Watch()


def test_a_watch_resumes_from_a_version_and_tells_every_change_once(core: Any) -> None:
    version = core.list_namespaced_config_map("default").metadata.resource_version
    for name in ("a", "b"):
        core.create_namespaced_config_map("default", config(name))
    core.patch_namespaced_config_map("b", "default", {"data": {"x": "y"}})
    core.delete_namespaced_config_map("a", "default")
    expected = [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "a")]
    for resumed_after in range(len(expected)):
        watcher, seen = watching(), []
        for event in watcher.stream(core.list_namespaced_config_map, "default", resource_version=version):
            seen.append((event["type"], event["object"].metadata.name))
            if len(seen) == len(expected) - resumed_after:
                watcher.stop()
            if len(seen) == 1:
                version = event["object"].metadata.resource_version
        assert seen == expected[resumed_after:]


def test_a_watch_from_history_that_is_gone_is_410(core: Any, forget_history: Callable[[], None]) -> None:
    old = core.create_namespaced_config_map("default", config("c")).metadata.resource_version
    core.patch_namespaced_config_map("c", "default", {"data": {"a": "1"}})
    core.patch_namespaced_config_map("c", "default", {"data": {"a": "2"}})
    forget_history()
    with pytest.raises(kubernetes.client.ApiException, match="Expired: too old resource version") as expired:
        next(watching().stream(core.list_namespaced_config_map, "default", resource_version=old))
    assert expired.value.status == 410


def test_the_clients_informer_stays_in_step_through_ended_watches_and_lost_history(
    core: Any, forget_history: Callable[[], None]
) -> None:
    core.create_namespaced_config_map("default", config("before"))
    informing: Any = SharedInformer  # untyped
    informer = informing(core.list_namespaced_config_map, namespace="default")
    changed = threading.Condition()

    def note(_: Any) -> None:
        with changed:
            changed.notify_all()

    def until(names: set[str]) -> None:
        with changed:
            assert changed.wait_for(lambda: set(informer.cache.list_keys()) == names, timeout=60)

    for kind in ("ADDED", "MODIFIED", "DELETED"):
        informer.add_event_handler(kind, note)
    informer.start()
    until({"default/before"})
    core.create_namespaced_config_map("default", config("live"))
    until({"default/before", "default/live"})
    informer.stop()  # what happens now is told by history on resuming
    core.delete_namespaced_config_map("before", "default")
    informer.start()
    until({"default/live"})
    informer.stop()  # and now there is no history left to tell it: the informer lists again
    core.create_namespaced_config_map("default", config("unseen"))
    core.delete_namespaced_config_map("live", "default")
    forget_history()
    informer.start()
    until({"default/unseen"})
    core.create_namespaced_config_map("default", config("after"))
    until({"default/unseen", "default/after"})
    informer.stop()


def test_a_watch_with_bookmarks_follows_a_list_that_is_streamed(core: Any) -> None:
    """What an informer of a newer client does: WatchList, then the watch that goes on behind its bookmark."""
    core.create_namespaced_config_map("default", config("c"))
    watcher, seen = watching(), []
    for event in watcher.stream(
        core.list_namespaced_config_map,
        "default",
        allow_watch_bookmarks=True,
        send_initial_events=True,
        resource_version_match="NotOlderThan",
    ):
        metadata = event["raw_object"]["metadata"]
        if event["type"] != "BOOKMARK":
            seen.append(metadata["name"])
        elif metadata.get("annotations") == {"k8s.io/initial-events-end": "true"}:
            assert seen == ["c"]
            core.create_namespaced_config_map("default", config("d"))
        if seen == ["c", "d"]:
            watcher.stop()


def test_a_watch_ends_at_its_time_and_resumes_without_a_gap(core: Any) -> None:
    version = core.list_namespaced_config_map("default").metadata.resource_version
    watcher = watching()
    ended = watcher.stream(core.list_namespaced_config_map, "default", resource_version=version, timeout_seconds=1)
    assert list(ended) == []
    core.create_namespaced_config_map("default", config("c"))
    for event in watcher.stream(core.list_namespaced_config_map, "default", resource_version=version):
        assert (event["type"], event["object"].metadata.name) == ("ADDED", "c")
        watcher.stop()
