"""Questions that one may ask about oneself: who am I, and what may I do. Nothing of them is stored."""

from skerry.api.errors import BadRequest
from skerry.api.model import Document
from skerry.server.access import Access, Act
from skerry.server.auth import ADMINISTRATORS, User
from skerry.server.kube.discovery import Resource

_AUTHORIZATION = "authorization.k8s.io"
_AUTHENTICATION = "authentication.k8s.io"


def _question(group: str, plural: str, kind: str) -> Resource:
    return Resource(group, "v1", plural, kind.lower(), kind, namespaced=False, verbs=("create",))


ACCESS_REVIEW = _question(_AUTHORIZATION, "selfsubjectaccessreviews", "SelfSubjectAccessReview")
RULES_REVIEW = _question(_AUTHORIZATION, "selfsubjectrulesreviews", "SelfSubjectRulesReview")
SUBJECT_REVIEW = _question(_AUTHENTICATION, "selfsubjectreviews", "SelfSubjectReview")

REVIEWS = (ACCESS_REVIEW, RULES_REVIEW, SUBJECT_REVIEW)


def find_review(group: str, version: str, plural: str) -> Resource | None:
    """Return the question that a path names, or None."""
    return next((r for r in REVIEWS if (r.group, r.version, r.plural) == (group, version, plural)), None)


def answer(review: Resource, body: Document, user: User, access: Access) -> Document:
    """Return the question with its answer as status; raises BadRequest where it can't be read."""
    spec = body.get("spec") or {}
    if not isinstance(spec, dict):
        raise BadRequest("spec must be an object")
    if review is ACCESS_REVIEW:
        status = _access(spec, user, access)
    elif review is RULES_REVIEW:
        status = _rules(user)
    else:
        status = {"userInfo": _user_info(user)}
    return {
        "kind": review.kind,
        "apiVersion": review.group_version,
        "metadata": {"creationTimestamp": None},
        **({"spec": spec} if spec else {}),
        "status": status,
    }


def _access(spec: Document, user: User, access: Access) -> Document:
    attributes, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if isinstance(attributes, dict):
        names = ("verb", "group", "resource", "subresource", "namespace", "name")
        act = Act(**{name: str(attributes.get(name) or "") for name in names})
    elif isinstance(path, dict):
        act = Act(verb=str(path.get("verb") or ""), path=str(path.get("path") or ""))
    else:
        raise BadRequest("spec: exactly one of nonResourceAttributes or resourceAttributes must be specified")
    decision = access.decide(user, act)
    return {"allowed": decision.allowed, **({"reason": decision.reason} if decision.reason else {})}


def _rules(user: User) -> Document:
    everything = ADMINISTRATORS in user.groups
    rules = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}] if everything else []
    paths = [{"verbs": ["*"], "nonResourceURLs": ["*"]}] if everything else []
    return {"resourceRules": rules, "nonResourceRules": paths, "incomplete": False}


def _user_info(user: User) -> Document:
    info: Document = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        info["uid"] = user.uid
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return info
