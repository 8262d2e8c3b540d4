"""Which requests an endpoint takes."""

import pytest

from skerry.api.dispatch_endpoints import Endpoint, EndpointSpec, takes
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
