"""core/v1: ServiceAccount, a user that is an object, for programs. Its tokens are made on request (`/token`)."""

from typing import Annotated

from skerry.api.core_v1 import ObjectReference
from skerry.api.kinds import Column, Kind
from skerry.api.model import LIST_ATOMIC, MAP_ATOMIC, Model, Resource, list_map

#: The account that every namespace has.
DEFAULT_ACCOUNT = "default"
#: The group of all accounts; with a colon and a namespace, that of the accounts there.
ACCOUNTS_GROUP = "system:serviceaccounts"


class LocalObjectReference(Model):
    """Names an object in the same namespace."""

    model_config = MAP_ATOMIC

    name: str = ""
    """Name of the object."""


class ServiceAccount(Resource):
    """A user for programs, of one namespace."""

    secrets: Annotated[list[ObjectReference] | None, list_map("name")] = None
    """Secrets that programs of this account may use; told, not enforced."""
    image_pull_secrets: Annotated[list[LocalObjectReference] | None, LIST_ATOMIC] = None
    """Secrets for pulling images, for whoever runs programs of this account."""
    automount_service_account_token: bool | None = None
    """Whether whoever runs programs of this account hands them a token."""


def account_user(namespace: str, name: str) -> str:
    """Return the user that an account is."""
    return f"system:serviceaccount:{namespace}:{name}"


def account_groups(namespace: str) -> tuple[str, ...]:
    """Return the groups of every account in a namespace."""
    return (ACCOUNTS_GROUP, f"{ACCOUNTS_GROUP}:{namespace}")


SERVICE_ACCOUNT = Kind(
    group="",
    version="v1",
    model=ServiceAccount,
    plural="serviceaccounts",
    namespaced=True,
    short_names=("sa",),
    columns=(
        Column(
            "Secrets",
            lambda d: len(d.get("secrets") or ()),
            type="integer",
            description="The number of secrets that it names.",
        ),
    ),
    subresources=("token",),
    core_semantics=True,
    read_by="view",
    written_by="edit",
)
