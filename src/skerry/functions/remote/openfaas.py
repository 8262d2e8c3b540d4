"""The driver `openfaas`: functions on an OpenFaaS gateway.

Source: the gateway's REST API, and Dispatch's driver of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from pydantic import BaseModel, Field, TypeAdapter

from skerry.functions.entities import Exec, Function, FunctionExecution
from skerry.functions.images import ImageBuilder
from skerry.functions.messages import Context, Message, Runnable
from skerry.functions.remote.http import call, get, read, refused, refused_call, request, until_ready

_OWNER = "dispatch.skerry.dev/owner"
_PREFIX = "of-"
_CREATED = (200, 201, 202)
_GONE = (*_CREATED, 404)


class _Deployed(BaseModel):
    name: str
    replicas: int = Field(0, alias="availableReplicas")
    labels: dict[str, str] | None = None


_FUNCTION = TypeAdapter(_Deployed)
_FUNCTIONS = TypeAdapter(list[_Deployed] | None)


@dataclass(frozen=True)
class OpenFaasSettings:
    """How functions are deployed.

    Attributes:
        gateway: URL of the gateway.
        network: of Docker Swarm; ignored elsewhere.
        image_pull_secret: name of the engine's secret with the registry's credentials; "" for none.
        limits: cpu and memory, in Kubernetes' quantities.
        requests: likewise.
        owner: tells our functions from others on the same gateway.
    """

    gateway: str
    network: str = "func_functions"
    image_pull_secret: str = ""
    limits: Mapping[str, str] = field(default_factory=dict)
    requests: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""


class OpenFaasDriver:
    """Deploys functions on OpenFaaS and calls them there.

    Args:
        settings: how.
        images: makes their images.
        client: talks to the gateway, with its credentials; its timeouts bound each wait.
    """

    def __init__(self, settings: OpenFaasSettings, images: ImageBuilder, client: httpx.AsyncClient) -> None:
        self._settings = settings
        self._images = images
        self._client = client

    async def create(self, function: Function, exec_: Exec) -> None:
        """Deploy a function; return once a replica is there."""
        name, settings = _name(function.faas_id), self._settings
        body: dict[str, Any] = {
            "service": name,
            "image": await self._images.build_image("openfaas", function.faas_id, exec_),
            "network": settings.network,
            "envVars": {},
            "labels": {_OWNER: settings.owner},
            "secrets": [settings.image_pull_secret] if settings.image_pull_secret else [],
            "limits": dict(settings.limits) or None,
            "requests": dict(settings.requests) or None,
        }
        status, answer = await request(self._client, "POST", self._url("system/functions"), json=body)
        if status not in _CREATED:
            raise refused(status, answer)
        await until_ready(lambda: self._is_ready(name), f"function {name}")

    async def _is_ready(self, name: str) -> bool:
        status, answer = await request(self._client, "GET", self._url(f"system/function/{name}"))
        return status == httpx.codes.OK and read(_FUNCTION, answer).replicas > 0

    async def delete(self, function: Function) -> None:
        """Remove a deployment; one that is not there is no error."""
        body = {"functionName": _name(function.faas_id)}
        status, answer = await request(self._client, "DELETE", self._url("system/functions"), json=body)
        if status not in _GONE:
            raise refused(status, answer)
        await self._images.remove_image(function.faas_id)

    async def deployments(self) -> set[str]:
        """Return what is deployed with our label."""
        found = await get(self._client, self._url("system/functions"), _FUNCTIONS) or ()
        ours = [each.name for each in found if (each.labels or {}).get(_OWNER) == self._settings.owner]
        return {name.removeprefix(_PREFIX) for name in ours if name.startswith(_PREFIX)}

    def get_runnable(self, execution: FunctionExecution) -> Runnable:
        """Give what calls a deployment through the gateway."""
        url = self._url(f"function/{_name(execution.faas_id)}")

        async def run(context: Context, payload: Any) -> Any:
            return await call(self._client, url, Message(context, payload), refusal=refused_call)

        return run

    def _url(self, path: str) -> str:
        return f"{self._settings.gateway.rstrip('/')}/{path}"


def _name(faas_id: str) -> str:
    return f"{_PREFIX}{faas_id}"
