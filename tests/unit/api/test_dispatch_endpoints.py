"""Which requests an endpoint takes."""

import pytest

from skerry.api.dispatch_endpoints import ENDPOINT, Endpoint, EndpointSpec, takes
from skerry.api.model import ObjectMeta


def fit(method: str = "GET", host: str = "any.example", path: str = "/default", **spec: object) -> int:
    wanted = EndpointSpec.model_validate({"function": "f", **spec})
    endpoint = Endpoint(metadata=ObjectMeta(name="e", namespace="default"), spec=wanted)
    return takes(endpoint, method=method, host=host, path=path)


def test_the_longest_path_that_fits_counts() -> None:
    uris = ["/", "/orders", "/orders/late"]
    assert fit(path="/default/orders/late/7", uris=uris) == len("/default/orders/late")
    assert fit(path="/default/ordersx", uris=uris) == len("/default")
    assert fit(path="/other/orders", uris=uris) == 0
    assert fit(path="/defaults") == 0


@pytest.mark.parametrize(
    ("hosts", "host", "fits"),
    [
        (["Shop.example"], "shop.example", True),
        (["*.shop.example"], "a.b.shop.example", True),
        (["*.shop.example"], "shop.example", False),
        (["shop.example"], "other.example", False),
        (None, "other.example", True),
    ],
)
def test_hosts_are_exact_or_begin_with_any_label(hosts: list[str] | None, host: str, *, fits: bool) -> None:
    assert bool(fit(host=host, hosts=hosts)) is fits


def test_methods_are_those_it_names_and_preflights_where_it_has_cors() -> None:
    assert not fit(method="POST", methods=["GET"])
    assert not fit(method="OPTIONS", methods=["GET"])
    assert fit(method="OPTIONS", methods=["GET"], cors=True)
    assert fit(method="DELETE")
    assert not fit(enabled=False)


def problems(uri: str) -> list[str]:
    spec = EndpointSpec(function="f", uris=["/fine", uri])
    endpoint = Endpoint(metadata=ObjectMeta(name="e", namespace="default"), spec=spec)
    return [str(error) for error in ENDPOINT.validate(endpoint, None)]


@pytest.mark.parametrize(
    ("uri", "normal"),
    [
        ("/up/../a", "/a"),
        ("/../../a", "/a"),
        ("/a/./b/.", "/a/b/"),
        ("/a/b/..", "/a/"),
        ("/..", "/"),
        ("/%2e%2E/a", "/a"),
        ("/%41b%7Ec", "/Ab~c"),
        ("/caf%c3%a9/x%2fy", "/caf%C3%A9/x%2Fy"),
    ],
)
def test_a_path_that_no_request_has_is_refused_with_the_one_that_they_have(uri: str, normal: str) -> None:
    told = f"must be in normal form (RFC 3986), or no request fits it: {normal}"
    assert problems(uri) == [f'spec.uris[1]: Invalid value: "{uri}": {told}']
    assert problems(normal) == []


@pytest.mark.parametrize("uri", ["/z%zz", "/p%", "/p%4"])
def test_a_stray_percent_sign_is_refused_with_how_it_is_written(uri: str) -> None:
    [problem] = problems(uri)
    assert problem.startswith("spec.uris[1]")
    assert "a percent sign itself is %25" in problem


@pytest.mark.parametrize("uri", ["/", "/a.b..c", "/...", "/..d", "/end/", "/a%20b", "/x%2Fy", "/at@:=&$+,;(')*!~_-"])
def test_any_path_in_normal_form_is_taken(uri: str) -> None:
    assert problems(uri) == []
