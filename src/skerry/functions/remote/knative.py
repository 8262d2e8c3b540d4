"""The driver `knative`: functions as Services of Knative Serving v1, through the API of their Kubernetes.

Source: Knative's Serving API, serving.knative.dev/v1.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, TypeAdapter

from skerry.functions.entities import Exec, Function, FunctionExecution
from skerry.functions.errors import FunctionError, NoDeployment, SystemError  # noqa: A004 - see errors
from skerry.functions.images import ImageBuilder
from skerry.functions.messages import Context, Message, Runnable
from skerry.functions.remote.http import call, get, refused, refused_call, request, until_ready

_LABEL = "dispatch.skerry.dev/function"
_OWNER = "dispatch.skerry.dev/owner"
_PREFIX = "fn-"


class _Condition(BaseModel):
    type: str
    status: str
    reason: str = ""
    message: str = ""


class _Status(BaseModel):
    url: str = ""
    conditions: list[_Condition] = []


class _Service(BaseModel):
    status: _Status = _Status()


class _Metadata(BaseModel):
    name: str


class _Named(BaseModel):
    metadata: _Metadata


class _Services(BaseModel):
    items: list[_Named]


_SERVICE = TypeAdapter(_Service)
_SERVICES = TypeAdapter(_Services)


@dataclass(frozen=True)
class KnativeSettings:
    """How functions are deployed.

    Attributes:
        api: URL of the Kubernetes API.
        namespace: where the Services are made.
        ingress: URL of the gateway that routes by host; "" to call each Service's own URL.
        service_account: of the functions; "" for the namespace's default.
        concurrency: requests that one container takes at once; 0 for Knative's default.
        owner: tells our Services from others in the namespace.
    """

    api: str
    namespace: str = "default"
    ingress: str = ""
    service_account: str = ""
    concurrency: int = 0
    owner: str = ""


class KnativeDriver:
    """Deploys functions on Knative and calls them there.

    Args:
        settings: how.
        images: makes their images.
        client: talks to the Kubernetes API, with its credentials.
        caller: talks to the functions, without them.
    """

    def __init__(
        self, settings: KnativeSettings, images: ImageBuilder, client: httpx.AsyncClient, caller: httpx.AsyncClient
    ) -> None:
        self._settings = settings
        self._images = images
        self._client = client
        self._caller = caller
        self._urls: dict[str, str] = {}

    async def create(self, function: Function, exec_: Exec) -> None:
        """Deploy a function; return once its Service is ready.

        Raises:
            FunctionError: Knative says that the revision failed: the container ends, or does not answer.
        """
        image = await self._images.build_image("knative", function.faas_id, exec_)
        status, answer = await request(self._client, "POST", self._services(), json=self._service(function, image))
        if status not in {200, 201}:
            raise refused(status, answer)
        name = _name(function.faas_id)
        await until_ready(lambda: self._is_ready(name), f"service {name}")

    def _service(self, function: Function, image: str) -> dict[str, Any]:
        spec: dict[str, Any] = {"containers": [{"image": image}]}
        if self._settings.service_account:
            spec["serviceAccountName"] = self._settings.service_account
        if self._settings.concurrency:
            spec["containerConcurrency"] = self._settings.concurrency
        if function.timeout_seconds:
            spec["timeoutSeconds"] = max(round(function.timeout_seconds), 1)
        return {
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Service",
            "metadata": {
                "name": _name(function.faas_id),
                "labels": {_LABEL: function.name, _OWNER: self._settings.owner},
            },
            "spec": {"template": {"spec": spec}},
        }

    async def _is_ready(self, name: str) -> bool:
        status = (await get(self._client, self._services(name), _SERVICE, refusal=refused_call)).status
        ready = next((each for each in status.conditions if each.type == "Ready"), None)
        if ready is None:
            return False
        if ready.status == "False" and ready.reason not in {"", "IngressNotConfigured"}:
            raise FunctionError(f"{ready.reason}: {ready.message}")
        if ready.status == "True" and status.url:
            self._urls[name] = status.url
            return True
        return False

    async def delete(self, function: Function) -> None:
        """Remove a deployment; one that is not there is no error."""
        name = _name(function.faas_id)
        self._urls.pop(name, None)
        status, answer = await request(self._client, "DELETE", self._services(name))
        if status not in {200, 202, 404}:
            raise refused(status, answer)
        await self._images.remove_image(function.faas_id)

    async def deployments(self) -> set[str]:
        """Return what is deployed with our label."""
        query = {"labelSelector": f"{_OWNER}={self._settings.owner}"}
        found = await get(self._client, self._services(), _SERVICES, params=query)
        names = [service.metadata.name for service in found.items]
        return {name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX)}

    def get_runnable(self, execution: FunctionExecution) -> Runnable:
        """Give what calls a deployment, by its own URL or through the ingress by its host."""
        name = _name(execution.faas_id)

        async def run(context: Context, payload: Any) -> Any:
            if name not in self._urls and not await self._is_ready(name):
                raise SystemError(f"service {name} is not ready")
            url, headers = self._urls[name], {}
            if self._settings.ingress:
                url, headers = self._settings.ingress, {"host": urlsplit(url).netloc}
            try:
                return await call(self._caller, url, Message(context, payload), headers, refusal=refused_call)
            except NoDeployment:
                self._urls.pop(name, None)
                raise

        return run

    def _services(self, name: str = "") -> str:
        base = f"{self._settings.api.rstrip('/')}/apis/serving.knative.dev/v1/namespaces/{self._settings.namespace}"
        return f"{base}/services/{name}" if name else f"{base}/services"


def _name(faas_id: str) -> str:
    return f"{_PREFIX}{faas_id}"
