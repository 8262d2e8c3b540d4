"""Questions about users: who am I, what may I do, what may someone else do. Nothing of them is stored."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from skerry.api.errors import BadRequest, Invalid
from skerry.api.fields import FieldError, invalid, type_invalid
from skerry.api.model import Document, to_document
from skerry.server.access import Access, Act
from skerry.server.auth import User
from skerry.server.kube.discovery import Resource

_AUTHORIZATION = "authorization.k8s.io"
_AUTHENTICATION = "authentication.k8s.io"
_ACT_FIELDS = ("verb", "group", "resource", "subresource", "namespace", "name")


def _question(group: str, plural: str, kind: str, *, namespaced: bool = False) -> Resource:
    return Resource(group, "v1", plural, kind.lower(), kind, namespaced=namespaced, verbs=("create",))


ACCESS_REVIEW = _question(_AUTHORIZATION, "selfsubjectaccessreviews", "SelfSubjectAccessReview")
RULES_REVIEW = _question(_AUTHORIZATION, "selfsubjectrulesreviews", "SelfSubjectRulesReview")
OTHERS_REVIEW = _question(_AUTHORIZATION, "subjectaccessreviews", "SubjectAccessReview")
LOCAL_REVIEW = _question(_AUTHORIZATION, "localsubjectaccessreviews", "LocalSubjectAccessReview", namespaced=True)
SUBJECT_REVIEW = _question(_AUTHENTICATION, "selfsubjectreviews", "SelfSubjectReview")
TOKEN_REVIEW = _question(_AUTHENTICATION, "tokenreviews", "TokenReview")
"""Answered by `tokens`, which knows them."""

REVIEWS = (ACCESS_REVIEW, RULES_REVIEW, OTHERS_REVIEW, LOCAL_REVIEW, SUBJECT_REVIEW, TOKEN_REVIEW)
_BY_PATH = {(review.group, review.version, review.plural): review for review in REVIEWS}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it came.

    Attributes:
        body: the review.
        user: who asks.
        namespace: of the path; "" where there is none.
    """

    body: Document
    user: User
    namespace: str = ""


def find_review(group: str, version: str, plural: str) -> Resource | None:
    """Return the question that a path names, or None."""
    return _BY_PATH.get((group, version, plural))


def answer(review: Resource, asked: Asked, access: Access) -> Document:
    """Return the question with its answer as status.

    Raises:
        BadRequest: it has no object for a spec, or names another namespace than the path, or none where it needs one.
        Invalid: with every field that is wrong.
    """
    spec = asked.body.get("spec") or {}
    if not isinstance(spec, dict):
        raise BadRequest("spec must be an object")
    meta = asked.body.get("metadata")
    if isinstance(meta, dict) and meta.get("namespace") not in (None, "", asked.namespace):
        raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    status = _ANSWERS[review.kind](review, spec, asked, access)
    namespace = {"namespace": asked.namespace} if asked.namespace else {}
    return {
        "kind": review.kind,
        "apiVersion": review.group_version,
        "metadata": {**namespace, "creationTimestamp": None},
        **({"spec": spec} if spec else {}),
        "status": status,
    }


def _own_access(review: Resource, spec: Document, asked: Asked, access: Access) -> Document:
    act = _act(review, spec, [])
    return _decision(access, asked.user, act)


def _others_access(review: Resource, spec: Document, asked: Asked, access: Access) -> Document:
    wrong: list[FieldError] = []
    user = _user(spec, wrong)
    if review is LOCAL_REVIEW:
        wrong += _place_errors(spec, asked.namespace)
    return _decision(access, user, _act(review, spec, wrong))


def _decision(access: Access, user: User, act: Act) -> Document:
    decision = access.decide(user, act)
    return {"allowed": decision.allowed, **({"reason": decision.reason} if decision.reason else {})}


def _act(review: Resource, spec: Document, wrong: list[FieldError]) -> Act:
    """Return what is asked about; raises Invalid with that and all that was found `wrong` before."""
    attributes, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    for field, value in (("resourceAttributes", attributes), ("nonResourceAttributes", path)):
        if value is not None and not isinstance(value, dict):
            wrong.append(type_invalid(f"spec.{field}", value, "object"))
    if attributes and path:
        why = "cannot be specified in combination with resourceAttributes"
        wrong.append(invalid("spec.nonResourceAttributes", path, why))
    if attributes is None and path is None:
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        wrong.append(invalid("spec.resourceAttributes", None, why))
    given = attributes if attributes is not None else path
    names = _ACT_FIELDS if attributes is not None else ("verb", "path")
    place = "spec.resourceAttributes" if attributes is not None else "spec.nonResourceAttributes"
    found = {name: _text(given, name, place, wrong) for name in names} if isinstance(given, dict) else {}
    if wrong:
        raise Invalid.of(review.kind, review.group, "", wrong)
    return Act(**found)


def _user(spec: Document, wrong: list[FieldError]) -> User:
    """Return whom a review asks about; appends to `wrong`."""
    groups = spec.get("groups") or []
    if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
        wrong.append(type_invalid("spec.groups", groups, "array"))
        groups = []
    name = _text(spec, "user", "spec", wrong)
    if not name and not groups:
        wrong.append(invalid("spec.user", name, "at least one of user or group must be specified"))
    return User(name, _text(spec, "uid", "spec", wrong), tuple(groups))


def _place_errors(spec: Document, namespace: str) -> list[FieldError]:
    attributes, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if path is not None:
        return [invalid("spec.nonResourceAttributes", path, "disallowed on this kind of request")]
    given = attributes.get("namespace", "") if isinstance(attributes, dict) else namespace
    if given == namespace:
        return []
    return [invalid("spec.resourceAttributes.namespace", given, f"must be the namespace of the request, {namespace}")]


def _text(document: Document, name: str, place: str, wrong: list[FieldError]) -> str:
    value = document.get(name)
    if value is None or isinstance(value, str):
        return value or ""
    wrong.append(type_invalid(f"{place}.{name}", value, "string"))
    return ""


def _own_rules(_: Resource, spec: Document, asked: Asked, access: Access) -> Document:
    namespace = spec.get("namespace")
    if not namespace or not isinstance(namespace, str):
        raise BadRequest("no namespace on request")
    held = access.held_by(asked.user, namespace)
    rules = [to_document(rule) for rule in held.rules]
    status: Document = {
        "resourceRules": [rule for rule in rules if "resources" in rule],
        "nonResourceRules": [rule for rule in rules if "nonResourceURLs" in rule],
        "incomplete": False,
    }
    return {**status, "evaluationError": "; ".join(held.problems)} if held.problems else status


def _own_name(_: Resource, __: Document, asked: Asked, ___: Access) -> Document:
    return {"userInfo": asked.user.info()}


_ANSWERS: Mapping[str, Callable[[Resource, Document, Asked, Access], Any]] = {
    ACCESS_REVIEW.kind: _own_access,
    RULES_REVIEW.kind: _own_rules,
    OTHERS_REVIEW.kind: _others_access,
    LOCAL_REVIEW.kind: _others_access,
    SUBJECT_REVIEW.kind: _own_name,
}
