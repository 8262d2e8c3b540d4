"""Every door that reads a body refuses one of too many objects and lists, before a model sees it."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from pydantic import BaseModel, model_validator

from skerry.api.core_v1 import CONFIG_MAP
from skerry.api.errors import RequestEntityTooLarge
from skerry.api.shapes import CONTAINERS_MAX
from skerry.fleet.reports import ReportRefused
from skerry.fleet.reports import read_object as read_report
from skerry.server.baetyl import door as baetyl
from skerry.server.dispatch import door as dispatch
from skerry.server.dispatch.cloud_events import read_events
from skerry.server.dispatch.http_payloads import payload_of
from skerry.server.kube.bodies import read_object, read_patch

MANY = b'{"spec":{"filters":[' + b"{}," * CONTAINERS_MAX + b"{}]}}"


class Unseen(BaseModel):
    """A model that must not be asked."""

    @model_validator(mode="before")
    @classmethod
    def _fail(cls, _: Any) -> Any:
        pytest.fail("a model saw the body")


class Sent:
    """A request with such a body."""

    async def body(self, bytes_max: int) -> bytes:
        assert len(MANY) <= bytes_max
        return MANY


async def kubernetes() -> None:
    read_object("application/json", MANY)


async def patches() -> None:
    read_patch("application/merge-patch+json", MANY, CONFIG_MAP)


async def applied() -> None:
    read_patch("application/apply-patch+yaml", MANY, CONFIG_MAP)


async def dispatchs() -> None:
    await dispatch.Asked(cast("Any", Sent()), cast("Any", None), {}).body(Unseen)


async def baetyls() -> None:
    await baetyl.Asked(cast("Any", Sent()), cast("Any", None), {}).body(Unseen)


async def events() -> None:
    read_events({"content-type": "application/cloudevents+json"}, MANY)


async def calls() -> None:
    payload_of("POST", "", "application/json", MANY)


@pytest.mark.parametrize("read", [kubernetes, patches, applied, dispatchs, baetyls, events, calls])
async def test_a_body_of_too_many_items_is_a_413_that_names_field_and_limit(
    read: Callable[[], Awaitable[None]],
) -> None:
    told = rf"spec\.filters: has {CONTAINERS_MAX + 1} items.* at most {CONTAINERS_MAX}"
    with pytest.raises(RequestEntityTooLarge, match=told):
        await read()


def test_a_report_of_too_many_items_is_refused() -> None:
    with pytest.raises(ReportRefused, match=f"{CONTAINERS_MAX} objects and lists"):
        read_report(MANY)
