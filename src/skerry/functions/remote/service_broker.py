"""A client of the Open Service Broker API, version 2: catalogue, provision, bind, unbind, deprovision, last operation.

Owns requests, and what answers mean: done, still going on, refused, or worth another try. Does not own when one is
tried again, nor what is kept. Every request may be sent again: ids are the platform's, and a broker knows them.

Source: the Open Service Broker API, v2.16 (spec.md of openservicebrokerapi/servicebroker).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import httpx
import orjson

from skerry.functions.errors import SystemError  # noqa: A004 - see errors
from skerry.functions.remote.http import QUOTED_CHARACTERS_MAX, request
from skerry.kit.errors import SkerryError

VERSION_HEADER = ("X-Broker-API-Version", "2.16")
#: How long a broker may take for one answer, as the specification allows it.
ANSWER_SECONDS_MAX = 60.0

#: Answers after which the same request may be sent again.
_AGAIN = frozenset({408, 429})
_GONE = 410
_ACCEPTED = 202


class BrokerError(SkerryError):
    """A broker could not be asked, or failed: the same request may succeed later."""


class BrokerRefused(SkerryError):
    """A broker refused; asking again would not help."""


@dataclass(frozen=True, slots=True)
class Placed:
    """What a broker knows an instance by.

    Attributes:
        instance_id: the platform's name for it.
        service_id: the broker's name for the service.
        plan_id: the broker's name for the plan.
    """

    instance_id: str
    service_id: str
    plan_id: str

    @property
    def query(self) -> dict[str, str]:
        """What names service and plan where there is no body."""
        return {"service_id": self.service_id, "plan_id": self.plan_id}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a broker answered.

    Attributes:
        going_on: whether it is still at it; `last_operation` tells more.
        token: its name for that.
        credentials: of a binding.
    """

    going_on: bool = False
    token: str = ""
    credentials: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an operation is."""

    state: Literal["in progress", "succeeded", "failed"]
    description: str = ""


class ServiceBrokerClient:
    """Speaks to one broker.

    Args:
        http: its address as `base_url`, with credentials.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def catalog(self) -> list[dict[str, Any]]:
        """Return the services that are offered, as the catalogue has them."""
        document = await self._send("GET", "/v2/catalog")
        services = document.get("services")
        if not isinstance(services, list) or not all(isinstance(each, dict) for each in services):
            raise BrokerRefused("the broker's catalogue has no list of services")
        return services

    async def provision(self, placed: Placed, parameters: Mapping[str, Any], context: Mapping[str, str]) -> Answer:
        """Make an instance."""
        organization = context.get("namespace", "")
        body = {
            **placed.query,
            "parameters": dict(parameters),
            "context": dict(context),
            "organization_guid": organization,
            "space_guid": organization,
        }
        return _answer(await self._change("PUT", self._instance(placed), json=body))

    async def deprovision(self, placed: Placed) -> Answer:
        """End an instance; one that is gone is fine."""
        return _answer(await self._change("DELETE", self._instance(placed), query=placed.query))

    async def bind(self, placed: Placed, binding_id: str, parameters: Mapping[str, Any]) -> Answer:
        """Make a binding; its credentials come with the answer, or are fetched once it is made."""
        body = {**placed.query, "parameters": dict(parameters)}
        return _answer(await self._change("PUT", self._binding(placed, binding_id), json=body))

    async def fetch_binding(self, placed: Placed, binding_id: str) -> Answer:
        """Return a binding that was made meanwhile."""
        return _answer(await self._send("GET", self._binding(placed, binding_id), query=placed.query))

    async def unbind(self, placed: Placed, binding_id: str) -> Answer:
        """End a binding; one that is gone is fine."""
        return _answer(await self._change("DELETE", self._binding(placed, binding_id), query=placed.query))

    async def last_operation(self, placed: Placed, token: str, binding_id: str = "") -> Progress:
        """Tell how far an operation on an instance, or on its binding, is; what is gone has succeeded in going."""
        path = self._binding(placed, binding_id) if binding_id else self._instance(placed)
        query = placed.query | ({"operation": token} if token else {})
        document = await self._send("GET", f"{path}/last_operation", query=query, gone={"state": "succeeded"})
        match document.get("state"):
            case "in progress" | "succeeded" | "failed" as state:
                return Progress(state, str(document.get("description") or ""))
        raise BrokerError(f"the broker answered an operation's state with {document.get('state')!r}")

    @staticmethod
    def _instance(placed: Placed) -> str:
        return f"/v2/service_instances/{placed.instance_id}"

    def _binding(self, placed: Placed, binding_id: str) -> str:
        return f"{self._instance(placed)}/service_bindings/{binding_id}"

    async def _change(
        self, method: str, path: str, *, json: Any = None, query: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        asked = {**(query or {}), "accepts_incomplete": "true"}
        return await self._send(method, path, json=json, query=asked, gone={})

    async def _send(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        query: Mapping[str, str] | None = None,
        gone: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Send a request; `gone` stands for an answer that says that what it is about is gone."""
        try:
            status, body = await request(
                self._http,
                method,
                path,
                params=query,
                json=json,
                headers=dict([VERSION_HEADER]),
                timeout=ANSWER_SECONDS_MAX,
            )
        except SystemError as error:
            raise BrokerError(f"the broker can't be asked: {error}") from error
        if status == _GONE and gone is not None and method != "PUT":
            return gone
        document = _document(body)
        if status >= 400:
            said = str(document.get("description") or document.get("error") or body.decode(errors="replace"))
            message = f"the broker answered {status}: {said[:QUOTED_CHARACTERS_MAX]}"
            raise (BrokerError if status >= 500 or status in _AGAIN else BrokerRefused)(message)
        return {**document, "going_on": status == _ACCEPTED}


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def _answer(document: Mapping[str, Any]) -> Answer:
    credentials = document.get("credentials")
    return Answer(
        going_on=bool(document.get("going_on")),
        token=str(document.get("operation") or ""),
        credentials=credentials if isinstance(credentials, dict) else None,
    )
