"""What a path under `/api` and `/apis` names: one parser instead of a route for every kind.

    /api                                          the versions of the core group
    /apis/GROUP/VERSION                           what a version offers
    /apis/GROUP/VERSION/PLURAL[/NAME[/SUB]]
    /apis/GROUP/VERSION/namespaces/NAMESPACE/PLURAL[/NAME[/SUB]]

`/api/v1` stands for a group and version alike. The paths `namespaces/NAME` and `namespaces/NAME/status` of the core
group name a namespace itself. Rules: k8s.io/apiserver, RequestInfoFactory.
"""

from dataclasses import dataclass

_NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})


@dataclass(frozen=True, slots=True)
class ResourcePath:
    """A path below a group's version.

    Attributes:
        group: "" for core.
        version: such as "v1".
        plural: "" for the version itself, that is its discovery document.
        namespace: "" outside of a namespace.
        name: "" for a collection.
        subresource: "" for the object itself.
    """

    group: str
    version: str
    plural: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class GroupPath:
    """A path above the versions.

    Attributes:
        root: "api" or "apis".
        group: "" for the list of groups (of versions, under "api").
    """

    root: str
    group: str = ""


def parse_path(path: str) -> ResourcePath | GroupPath | None:
    """Read a path; None for one that can't name anything."""
    root, *parts = path.strip("/").split("/")
    if "" in parts or "\0" in path:
        return None
    if root == "api" and parts:
        parts = ["", *parts]
    match parts:
        case []:
            return GroupPath(root)
        case [group]:
            return GroupPath(root, group)
        case [group, version]:
            return ResourcePath(group, version)
        case ["", version, "namespaces", name]:
            return ResourcePath("", version, "namespaces", name=name)
        case ["", version, "namespaces", name, subresource] if subresource in _NAMESPACE_SUBRESOURCES:
            return ResourcePath("", version, "namespaces", name=name, subresource=subresource)
        case [group, version, "namespaces", namespace, plural, *rest] if len(rest) <= 2:
            return ResourcePath(group, version, plural, namespace, *rest)
        case [group, version, plural, *rest] if len(rest) <= 2 and (plural != "namespaces" or not group):
            return ResourcePath(group, version, plural, "", *rest)
        case _:
            return None
