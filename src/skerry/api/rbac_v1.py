"""rbac.authorization.k8s.io/v1: roles, which are lists of rules, and bindings, which give a role to subjects.

Rules, defaults and messages are Kubernetes' (pkg/apis/rbac/validation). What a rule means is decided in
`server.authorization`; here stands only what rules and bindings may say.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any

from pydantic import Field

from skerry.api.fields import FieldError, invalid, not_supported, required
from skerry.api.kinds import Column, Kind, age_of
from skerry.api.label_selector import LabelSelector, selector_errors
from skerry.api.model import LIST_ATOMIC, MAP_ATOMIC, Document, Model, Resource
from skerry.api.names import name_errors

GROUP = "rbac.authorization.k8s.io"

Texts = Annotated[list[str] | None, LIST_ATOMIC]


class PolicyRule(Model):
    """What may be done: verbs on resources, or on paths that are no resources."""

    verbs: Annotated[list[str], LIST_ATOMIC] = Field(default_factory=list)
    """What may be done; '*' stands for all verbs."""
    api_groups: Texts = None
    """API groups of the resources; '' is the core group, '*' stands for all groups."""
    resources: Texts = None
    """Resources, such as pods, pods/log and */status; '*' stands for all of them."""
    resource_names: Texts = None
    """Names that the rule is limited to; none means all."""
    non_resource_urls: Annotated[Texts, Field(alias="nonResourceURLs")] = None
    """Paths; one that ends with '*' stands for all that begin with it."""


class AggregationRule(Model):
    """Says which roles a ClusterRole is made of."""

    cluster_role_selectors: Annotated[list[LabelSelector] | None, LIST_ATOMIC] = None
    """Selects ClusterRoles by their labels; the rules of each that any of these selects are taken in."""


class ClusterRole(Resource):
    """Rules that a ClusterRoleBinding gives everywhere, and a RoleBinding in its namespace."""

    rules: Annotated[list[PolicyRule] | None, LIST_ATOMIC] = None
    """What may be done."""
    aggregation_rule: AggregationRule | None = None
    """Where it is set, a controller fills in the rules, and changes to them are overwritten."""


class Role(Resource):
    """Rules that a RoleBinding gives in this namespace."""

    rules: Annotated[list[PolicyRule] | None, LIST_ATOMIC] = None
    """What may be done."""


class RoleRef(Model):
    """Names the role of a binding; it can't be changed."""

    model_config = MAP_ATOMIC

    api_group: str = GROUP
    """API group of the role."""
    kind: str
    """ClusterRole, or in a RoleBinding also Role."""
    name: str
    """Name of the role."""


class Subject(Model):
    """A user, a group or a service account."""

    model_config = MAP_ATOMIC

    kind: str
    """User, Group or ServiceAccount."""
    api_group: str | None = None
    """rbac.authorization.k8s.io for User and Group, empty for ServiceAccount; filled in."""
    name: str
    """Name of the subject."""
    namespace: str | None = None
    """Namespace of a service account; in a RoleBinding its own by default."""


class ClusterRoleBinding(Resource):
    """Gives a ClusterRole to subjects, everywhere."""

    subjects: Annotated[list[Subject] | None, LIST_ATOMIC] = None
    """Who gets it."""
    role_ref: RoleRef
    """The role."""


class RoleBinding(Resource):
    """Gives a Role of this namespace, or a ClusterRole, to subjects, in this namespace."""

    subjects: Annotated[list[Subject] | None, LIST_ATOMIC] = None
    """Who gets it."""
    role_ref: RoleRef
    """The role."""


def _rule_errors(path: str, rule: PolicyRule, *, namespaced: bool) -> Iterator[FieldError]:
    if not rule.verbs:
        yield required(f"{path}.verbs", "verbs must contain at least one value")
    if rule.non_resource_urls:
        urls = f"{path}.nonResourceURLs"
        if namespaced:
            yield invalid(urls, rule.non_resource_urls, "namespaced rules cannot apply to non-resource URLs")
        if rule.api_groups or rule.resources or rule.resource_names:
            why = "rules cannot apply to both regular resources and non-resource URLs"
            yield invalid(urls, rule.non_resource_urls, why)
        return
    if not rule.api_groups:
        yield required(f"{path}.apiGroups", "resource rules must supply at least one api group")
    if not rule.resources:
        yield required(f"{path}.resources", "resource rules must supply at least one resource")


def _validate_role(role: Role, _: Role | None) -> Iterator[FieldError]:
    for index, rule in enumerate(role.rules or ()):
        yield from _rule_errors(f"rules[{index}]", rule, namespaced=True)


def _validate_cluster_role(role: ClusterRole, _: ClusterRole | None) -> Iterator[FieldError]:
    for index, rule in enumerate(role.rules or ()):
        yield from _rule_errors(f"rules[{index}]", rule, namespaced=False)
    if role.aggregation_rule is None:
        return
    path = "aggregationRule.clusterRoleSelectors"
    selectors = role.aggregation_rule.cluster_role_selectors
    if not selectors:
        yield required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil")
    for index, selector in enumerate(selectors or ()):
        yield from selector_errors(f"{path}[{index}]", selector)


def _default_binding(binding: ClusterRoleBinding | RoleBinding) -> None:
    binding.role_ref.api_group = binding.role_ref.api_group or GROUP
    for subject in binding.subjects or ():
        if not subject.api_group:
            subject.api_group = GROUP if subject.kind in {"User", "Group"} else None


def _validate_binding(binding: RoleBinding, old: RoleBinding | None) -> Iterator[FieldError]:
    yield from _reference_errors(binding.role_ref, ("Role", "ClusterRole"))
    for index, subject in enumerate(binding.subjects or ()):
        yield from _subject_errors(f"subjects[{index}]", subject, namespaced=True)
    yield from _change_errors(binding.role_ref, old.role_ref if old else None)


def _validate_cluster_binding(binding: ClusterRoleBinding, old: ClusterRoleBinding | None) -> Iterator[FieldError]:
    yield from _reference_errors(binding.role_ref, ("ClusterRole",))
    for index, subject in enumerate(binding.subjects or ()):
        yield from _subject_errors(f"subjects[{index}]", subject, namespaced=False)
    yield from _change_errors(binding.role_ref, old.role_ref if old else None)


def _reference_errors(reference: RoleRef, kinds: Sequence[str]) -> Iterator[FieldError]:
    if reference.api_group != GROUP:
        yield not_supported("roleRef.apiGroup", reference.api_group, [GROUP])
    if reference.kind not in kinds:
        yield not_supported("roleRef.kind", reference.kind, kinds)
    if not reference.name:
        yield required("roleRef.name")
    else:
        yield from name_errors("roleRef.name", reference.name, "path-segment")


def _change_errors(reference: RoleRef, old: RoleRef | None) -> Iterator[FieldError]:
    if old is not None and reference != old:
        given = f'rbac.RoleRef{{APIGroup:"{reference.api_group}", Kind:"{reference.kind}", Name:"{reference.name}"}}'
        yield FieldError("FieldValueInvalid", "roleRef", f"Invalid value: {given}: cannot change roleRef")


def _subject_errors(path: str, subject: Subject, *, namespaced: bool) -> Iterator[FieldError]:
    if not subject.name:
        yield required(f"{path}.name")
    match subject.kind:
        case "ServiceAccount":
            if subject.name:
                yield from name_errors(f"{path}.name", subject.name, "subdomain")
            if subject.api_group:
                yield not_supported(f"{path}.apiGroup", subject.api_group, [""])
            if not namespaced and not subject.namespace:
                yield required(f"{path}.namespace")
        case "User" | "Group" as kind:
            if not subject.name:
                yield invalid(f"{path}.name", subject.name, f"{kind.lower()} name cannot be empty")
            if subject.api_group != GROUP:
                yield not_supported(f"{path}.apiGroup", subject.api_group, [GROUP])
        case kind:
            yield not_supported(f"{path}.kind", kind, ["ServiceAccount", "User", "Group"])


def aggregated(role: ClusterRole, roles: Iterable[ClusterRole]) -> list[PolicyRule]:
    """Return the rules that a role with an aggregation rule is made of, each once, in the order of the roles' names."""
    selectors = (role.aggregation_rule and role.aggregation_rule.cluster_role_selectors) or ()
    rules: list[PolicyRule] = []
    for other in sorted(roles, key=lambda found: found.name):
        labels = other.metadata.labels or {}
        if other.name != role.name and any(selector.selects(labels) for selector in selectors):
            rules += [rule for rule in other.rules or () if rule not in rules]
    return rules


def _role_of(document: Document) -> str:
    reference = document["roleRef"]
    return f"{reference['kind']}/{reference['name']}"


def _subjects(kind: str) -> Any:
    """Return a reader of the names of the subjects of one kind."""

    def read(document: Document) -> str:
        found = [subject for subject in document.get("subjects") or () if subject["kind"] == kind]
        names = [f"{s.get('namespace', '')}/{s['name']}" if kind == "ServiceAccount" else s["name"] for s in found]
        return ", ".join(names)

    return read


_CREATED = (Column("Created At", age_of, description="When the object was created."),)
_BINDING_COLUMNS = (
    Column("Role", _role_of, description="The role that is given."),
    Column("Age", age_of, type="date", description="Time since the object was created."),
    Column("Users", _subjects("User"), description="Users who get it.", priority=1),
    Column("Groups", _subjects("Group"), description="Groups that get it.", priority=1),
    Column("ServiceAccounts", _subjects("ServiceAccount"), description="Service accounts that get it.", priority=1),
)

ROLE = Kind(
    group=GROUP,
    version="v1",
    model=Role,
    plural="roles",
    namespaced=True,
    columns=_CREATED,
    ages=False,
    name_format="path-segment",
    validate=_validate_role,
    core_semantics=True,
    read_by="admin",
    written_by="admin",
)
ROLE_BINDING = Kind(
    group=GROUP,
    version="v1",
    model=RoleBinding,
    plural="rolebindings",
    namespaced=True,
    columns=_BINDING_COLUMNS,
    ages=False,
    name_format="path-segment",
    default=_default_binding,
    validate=_validate_binding,
    core_semantics=True,
    read_by="admin",
    written_by="admin",
)
CLUSTER_ROLE = Kind(
    group=GROUP,
    version="v1",
    model=ClusterRole,
    plural="clusterroles",
    namespaced=False,
    columns=_CREATED,
    ages=False,
    name_format="path-segment",
    validate=_validate_cluster_role,
    core_semantics=True,
)
CLUSTER_ROLE_BINDING = Kind(
    group=GROUP,
    version="v1",
    model=ClusterRoleBinding,
    plural="clusterrolebindings",
    namespaced=False,
    columns=_BINDING_COLUMNS,
    ages=False,
    name_format="path-segment",
    default=_default_binding,
    validate=_validate_cluster_binding,
    core_semantics=True,
)
