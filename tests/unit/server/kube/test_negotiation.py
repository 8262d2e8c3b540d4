"""Accept headers of real clients, and the form that each gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api.errors import NotAcceptable
from skerry.server.kube.negotiation import OBJECTS, Form, accepts, form_of

KUBECTL_GET = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)
KUBECTL_DISCOVERY = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", OBJECTS),
        ("*/*", OBJECTS),
        ("application/json", OBJECTS),
        ("application/json, */*", OBJECTS),
        ("application/vnd.kubernetes.protobuf,application/json", OBJECTS),
        (KUBECTL_GET, Form("table", "v1")),
        ("application/json;as=Table;v=v1beta1;g=meta.k8s.io", Form("table", "v1beta1")),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", OBJECTS),
        ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", Form("metadata", "v1")),
        ("application/json;charset=utf-8", OBJECTS),
    ],
)
def test_the_first_form_that_can_be_given_is_given(accept: str, form: Form) -> None:
    assert form_of(accept) == form


@pytest.mark.parametrize(
    "accept", ["application/vnd.kubernetes.protobuf", "text/html", "application/json;as=Table;v=v9;g=x"]
)
def test_what_can_not_be_given_is_not_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="application/json"):
        form_of(accept)


def test_discovery_asks_for_its_own_form() -> None:
    wanted = {"g": "apidiscovery.k8s.io", "as": "APIGroupDiscoveryList"}
    assert accepts(KUBECTL_DISCOVERY, v="v2", **wanted)
    assert not accepts("application/json", v="v2", **wanted)


@given(st.text(max_size=80))
def test_any_header_has_a_form_or_none(accept: str) -> None:
    try:
        form_of(accept)
    except NotAcceptable:
        return
