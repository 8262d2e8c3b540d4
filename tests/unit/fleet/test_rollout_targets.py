"""Applications that rollouts of configurations make."""

from typing import Any

from skerry.api.baetyl_applications import Application
from skerry.api.baetyl_rollouts import Rollout
from skerry.api.model import from_document
from skerry.fleet.rollout_targets import is_made_by, made_target

VOLUMES = [{"name": "c", "config": {"name": "old"}}, {"name": "d", "config": {"name": "kept"}}]


def rollout(uid: str = "u-1") -> Rollout:
    spec = {"application": "web", "replaces": [{"configuration": "old", "by": "new"}]}
    return from_document(Rollout, {"metadata": {"name": "next", "namespace": "default", "uid": uid}, "spec": spec})


def application(**spec: Any) -> Application:
    meta = {"name": "web", "namespace": "default", "labels": {"a": "b"}, "uid": "u-2", "resourceVersion": "7"}
    return from_document(Application, {"metadata": meta, "spec": {"selector": "site", **spec}})


def test_files_are_exchanged_and_all_else_stays() -> None:
    source = application(services=[{"name": "web", "image": "nginx"}], volumes=VOLUMES)
    made = made_target(rollout(), source)
    assert (made.name, made.metadata.labels, made.spec.selector) == ("next", {"a": "b"}, "")
    assert [volume.config.name for volume in made.spec.volumes or () if volume.config] == ["new", "kept"]
    assert made.spec.services == source.spec.services
    assert source.spec.volumes is not None
    assert source.spec.volumes[0].config is not None
    assert source.spec.volumes[0].config.name == "old"


def test_the_code_of_functions_is_exchanged() -> None:
    service = {"name": "f", "functionConfig": {"name": "old", "runtime": "python3"}}
    made = made_target(rollout(), application(type="function", services=[service]))
    codes = [each.function_config.name for each in made.spec.services or () if each.function_config]
    assert codes == ["new"]


def test_what_a_rollout_made_is_known_by_its_owner() -> None:
    made = made_target(rollout(), application())
    assert is_made_by(rollout(), made)
    assert not is_made_by(rollout("u-9"), made)
    assert not is_made_by(rollout(), application())
