"""Roles on a whole Skerry: aggregation by its controller, and what a restart brings back."""

import json
from pathlib import Path

import pytest

from skerry.testing.skerry_process import SkerryProcess
from skerry.testing.waiting import until

pytestmark = pytest.mark.system


def resources_of(skerry: SkerryProcess, role: str) -> set[str]:
    found = json.loads(skerry.kubectl("get", "clusterrole", role, "-o", "json"))
    return {resource for rule in found.get("rules") or () for resource in rule.get("resources", ())}


def until_gives(skerry: SkerryProcess, role: str, resource: str, *, given: bool) -> None:
    """Ask until a role has a resource, or has it no more."""
    lacks = f"{role} {'gives' if given else 'no longer gives'} {resource}"
    until(lambda: (resource in resources_of(skerry, role)) is given, lacks)


def test_a_labelled_role_joins_view_edit_and_admin_and_leaves_them(skerry: SkerryProcess) -> None:
    skerry.kubectl("create", "clusterrole", "things", "--verb=get", "--resource=edgefunctions/log,secrets")
    label = "rbac.authorization.k8s.io/aggregate-to-view"
    skerry.kubectl("label", "clusterrole", "things", f"{label}=true")
    for role in ("view", "edit", "admin"):
        until_gives(skerry, role, "secrets", given=True)
    skerry.kubectl("label", "clusterrole", "things", f"{label}-")
    until_gives(skerry, "view", "secrets", given=False)


def test_a_restart_brings_back_default_roles_and_keeps_what_was_added(tmp_path: Path, cache_dir: Path) -> None:
    own = '[{"op": "add", "path": "/rules/-", "value": {"verbs": ["get"], "apiGroups": [""], "resources": ["mine"]}}]'
    with SkerryProcess.started(tmp_path / "data", cache_dir=cache_dir) as skerry:
        skerry.kubectl("delete", "clusterrole", "edit", "system:discovery")
        skerry.kubectl("patch", "clusterrole", "system:basic-user", "--type=json", "-p", own)
        assert skerry.stop() == 0
    with SkerryProcess.started(tmp_path / "data", cache_dir=cache_dir) as skerry:
        assert "configmaps" in resources_of(skerry, "edit")
        assert "mine" in resources_of(skerry, "system:basic-user")
        skerry.kubectl("get", "clusterrole", "system:discovery")
