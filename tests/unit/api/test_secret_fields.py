from typing import Annotated, Any

import pytest
from pydantic import Field

from skerry.api.core_v1 import CONFIG_MAP, SECRET
from skerry.api.decoding import decode
from skerry.api.errors import Invalid
from skerry.api.extensions_v1alpha2 import EDGE_FUNCTION
from skerry.api.kinds import Kind
from skerry.api.model import SECRET_FIELD, Model, Resource
from skerry.api.registry import KINDS
from skerry.api.secret_fields import confidential_resources, may_show, secret_fields

CANARY = "c4n4ry"


class Leaf(Model):
    code: Annotated[str, SECRET_FIELD, Field(max_length=3, pattern="^x")]
    again: "Leaf | None" = None


class Vault(Resource):
    named: dict[str, Leaf] | None = None
    listed: list[Leaf] | None = None
    size: Annotated[int, Field(le=3)] = 0


VAULT = Kind(group="example.org", version="v1", model=Vault, plural="vaults", namespaced=True)


def test_marks_are_found_wherever_they_are() -> None:
    assert secret_fields(VAULT) == (("named", "*", "code"), ("listed", "*", "code"))
    assert secret_fields(CONFIG_MAP) == ()
    assert ("data",) in secret_fields(SECRET)


def test_the_kinds_that_hold_secrets() -> None:
    assert confidential_resources(KINDS) == {
        "secrets",
        "edgefunctions.extensions.apoxy.dev",
        "edgefunctionrevisions.extensions.apoxy.dev",
        "configurations.cloud.baetyl.io",
        "products.cloud.baetyl.io",
        "callbacks.cloud.baetyl.io",
        "nodecommands.cloud.baetyl.io",
    }


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        (("size",), True),
        (("metadata", "name"), True),
        (("named", "a", "code"), False),
        (("listed", 0, "code"), False),
        (("listed", 0), False),
        (("listed",), False),
        ((), False),
        (("listed", 0, "again"), True),
    ],
)
def test_what_is_or_holds_a_secret_is_not_shown(location: tuple[str | int, ...], *, shown: bool) -> None:
    assert may_show(VAULT, location) is shown


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        (VAULT, {"named": {"a": {"code": CANARY}}}),
        (VAULT, {"listed": [{"code": [CANARY]}]}),
        (VAULT, {"listed": [{"code": {CANARY: CANARY}}]}),
        (VAULT, {"listed": CANARY}),
        (VAULT, {"listed": [CANARY]}),
        (SECRET, {"data": CANARY}),
        (SECRET, {"data": [CANARY]}),
        (SECRET, {"data": {"a": {"b": CANARY}}}),
        (SECRET, {"data": {"a": [CANARY]}}),
        (SECRET, {"stringData": {"a": [CANARY]}}),
        (SECRET, {"stringData": {"a": 7}, "data": {"a": CANARY}, "immutable": "no"}),
        (
            EDGE_FUNCTION,
            {"spec": {"template": {"code": {"goPluginSource": {"oci": {"credentials": {"password": [CANARY]}}}}}}},
        ),
        (EDGE_FUNCTION, {"spec": {"template": {"code": {"goPluginSource": {"oci": {"credentials": CANARY}}}}}}),
        (EDGE_FUNCTION, {"spec": {"template": [CANARY]}}),
    ],
)
def test_errors_of_structure_never_quote_a_secret(kind: Kind[Any], document: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        decode(kind, {"metadata": {"name": "a"}, **document})
    assert CANARY not in str(caught.value.status())
    assert CANARY not in str(caught.value.__cause__ or "")


def test_a_field_that_is_no_secret_is_still_quoted() -> None:
    with pytest.raises(Invalid, match="Invalid value: 77: should be less than or equal to 3"):
        decode(VAULT, {"metadata": {"name": "a"}, "size": 77})
