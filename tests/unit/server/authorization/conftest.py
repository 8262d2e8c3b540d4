"""An authorization that runs over verbs in memory, and short spellings of what is written and asked."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from skerry.api.registry import find_kind
from skerry.server.access import Act
from skerry.server.auth import AUTHENTICATED, User
from skerry.server.authorization.authorization import Authorization
from skerry.server.verbs.requests import DeleteOptions, Target, WriteOptions, Written
from skerry.server.verbs.verbs import Verbs
from skerry.testing.api_server import open_verbs

RBAC = "rbac.authorization.k8s.io"


def user(name: str, *groups: str) -> User:
    return User(name, groups=(*groups, AUTHENTICATED))


def rule(verbs: str, resources: str, group: str = "", names: str = "") -> dict[str, Any]:
    """Build a rule from words."""
    named = {"resourceNames": names.split()} if names else {}
    return {"verbs": verbs.split(), "apiGroups": [group], "resources": resources.split(), **named}


@dataclass
class World:
    """A control plane with its authorization."""

    verbs: Verbs
    authorization: Authorization

    async def create(self, kind: str, name: str, by: User | None = None, place: str = "", **fields: Any) -> Written:
        target = self.target(kind, place)
        return await self.verbs.create(target, {"metadata": {"name": name}, **fields}, WriteOptions(user=by))

    async def role(self, name: str, *rules: Any, by: User | None = None, place: str = "", **fields: Any) -> Written:
        return await self.create("Role" if place else "ClusterRole", name, by, place, rules=list(rules), **fields)

    async def bind(self, name: str, role: str, *users: str, by: User | None = None, place: str = "") -> Written:
        """Give a ClusterRole, or with the prefix "role:" a Role of the namespace, to users."""
        kind, name_of_role = ("Role", role[5:]) if role.startswith("role:") else ("ClusterRole", role)
        return await self.create(
            "RoleBinding" if place else "ClusterRoleBinding",
            name,
            by,
            place,
            roleRef={"kind": kind, "name": name_of_role},
            subjects=[{"kind": "User", "name": one} for one in users],
        )

    async def delete(self, kind: str, name: str, place: str = "") -> None:
        target = self.target(kind, place)
        await self.verbs.delete(Target(target.kind, place, name), DeleteOptions())

    @staticmethod
    def target(kind: str, place: str = "", name: str = "") -> Target:
        versions = (f"{RBAC}/v1", "v1", "gateway.networking.k8s.io/v1", "extensions.apoxy.dev/v1alpha2")
        found = next(found for version in versions if (found := find_kind(version, kind)))
        return Target(found, place, name)

    def may(self, who: User, verb: str, resource: str, group: str = "", **place: str) -> bool:
        plural, _, subresource = resource.partition("/")
        return self.authorization.decide(who, Act(verb, group, plural, subresource, **place)).allowed

    def may_path(self, who: User, path: str) -> bool:
        return self.authorization.decide(who, Act("get", path=path)).allowed


@pytest.fixture
async def world() -> AsyncIterator[World]:
    authorization = Authorization()
    async with open_verbs(policy=authorization) as (verbs, _), authorization.running(verbs):
        yield World(verbs, authorization)


@pytest.fixture
def make_user() -> Any:
    return user


@pytest.fixture
def make_rule() -> Any:
    return rule
