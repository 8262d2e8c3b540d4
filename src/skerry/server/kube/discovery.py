"""Discovery: which groups, versions and resources there are, in both forms that clients ask for.

Built once from the kinds; served from memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from skerry.api.errors import NotFound
from skerry.api.kinds import Kind
from skerry.api.model import Document

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
#: What may be done with the subresources, where that is not `get` alone.
_SUBRESOURCE_VERBS: dict[str, tuple[str, ...]] = {
    "status": ("get", "patch", "update"),
    "scale": ("get", "patch", "update"),
    "finalize": ("update",),
    "token": ("create",),
}
#: Group, version and kind of subresources that are not of the object's own kind.
_SUBRESOURCE_KINDS = {
    "scale": ("autoscaling", "v1", "Scale"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
}

UNKNOWN_PATH = "the server could not find the requested resource"


def unknown_path() -> NotFound:
    """The path names nothing."""
    return NotFound(UNKNOWN_PATH)


@dataclass(frozen=True, slots=True)
class Resource:
    """What discovery tells of one resource, whether it is a stored kind or a question one may ask."""

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    namespaced: bool
    verbs: tuple[str, ...]
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()

    @property
    def group_version(self) -> str:
        """`group/version`, or the version alone for core."""
        return f"{self.group}/{self.version}" if self.group else self.version


def subresource_verbs(subresource: str) -> tuple[str, ...]:
    """Return what may be done with a subresource."""
    return _SUBRESOURCE_VERBS.get(subresource, ("get",))


def resource_of(kind: Kind[Any]) -> Resource:
    """Return what discovery tells of a kind."""
    return Resource(
        kind.group,
        kind.version,
        kind.plural,
        kind.singular,
        kind.kind,
        kind.namespaced,
        VERBS,
        kind.short_names,
        kind.categories,
        (*(["status"] if kind.has_status else []), *(["scale"] if kind.scale else []), *kind.subresources),
    )


class Discovery:
    """The discovery documents of a set of resources."""

    def __init__(self, resources: Sequence[Resource]) -> None:
        self._resources = tuple(resources)
        #: Versions of a group in the order of the resources; the first one is preferred.
        self._versions: dict[str, list[str]] = {}
        for resource in resources:
            versions = self._versions.setdefault(resource.group, [])
            if resource.version not in versions:
                versions.append(resource.version)

    def all(self) -> tuple[Resource, ...]:
        """Return every resource."""
        return self._resources

    def core_versions(self) -> Document:
        """Answer `/api`."""
        return {"kind": "APIVersions", "versions": self._versions.get("", []), "serverAddressByClientCIDRs": []}

    def groups(self) -> Document:
        """Answer `/apis`."""
        groups = [self._group(group) for group in self._versions if group]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}

    def group(self, group: str) -> Document:
        """Answer `/apis/GROUP`; raises NotFound."""
        if not group or group not in self._versions:
            raise unknown_path()
        return {"kind": "APIGroup", "apiVersion": "v1", **self._group(group)}

    def _group(self, group: str) -> Document:
        versions = [{"groupVersion": f"{group}/{version}", "version": version} for version in self._versions[group]]
        return {"name": group, "versions": versions, "preferredVersion": versions[0]}

    def resources(self, group: str, version: str) -> Document:
        """Answer `/apis/GROUP/VERSION`, and `/api/v1` for the group ""; raises NotFound."""
        if version not in self._versions.get(group, ()):
            raise unknown_path()
        found = [r for r in self._resources if (r.group, r.version) == (group, version)]
        listed = [entry for resource in found for entry in _legacy_entries(resource)]
        return {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": found[0].group_version,
            "resources": listed,
        }

    def aggregated(self, root: str, version: str) -> Document:
        """Answer `/api` or `/apis` in one document.

        Args:
            root: "api" or "apis".
            version: of apidiscovery.k8s.io: "v2" or "v2beta1".
        """
        groups = [group for group in self._versions if bool(group) == (root == "apis")]
        return {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": f"apidiscovery.k8s.io/{version}",
            "metadata": {},
            "items": [self._aggregated_group(group) for group in groups],
        }

    def _aggregated_group(self, group: str) -> Document:
        versions = [
            {
                "version": version,
                "freshness": "Current",
                "resources": [
                    _aggregated_entry(r) for r in self._resources if (r.group, r.version) == (group, version)
                ],
            }
            for version in self._versions[group]
        ]
        return {"metadata": {"name": group} if group else {}, "versions": versions}


def _legacy_entries(resource: Resource) -> list[Document]:
    entry: Document = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    return [entry, *(_legacy_subresource(resource, subresource) for subresource in resource.subresources)]


def _legacy_subresource(resource: Resource, subresource: str) -> Document:
    entry: Document = {
        "name": f"{resource.plural}/{subresource}",
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(subresource_verbs(subresource)),
    }
    if other := _SUBRESOURCE_KINDS.get(subresource):
        entry["group"], entry["version"], entry["kind"] = other
    return entry


def _aggregated_entry(resource: Resource) -> Document:
    own = (resource.group, resource.version, resource.kind)
    entry: Document = {
        "resource": resource.plural,
        "responseKind": _response_kind(*own),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.subresources:
        entry["subresources"] = [
            {
                "subresource": subresource,
                "responseKind": _response_kind(*_SUBRESOURCE_KINDS.get(subresource, own)),
                "verbs": list(subresource_verbs(subresource)),
            }
            for subresource in resource.subresources
        ]
    return entry


def _response_kind(group: str, version: str, kind: str) -> Document:
    return {"group": group, "version": version, "kind": kind}
