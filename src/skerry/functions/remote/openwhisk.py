"""The driver `openwhisk`: functions as blackbox actions of Apache OpenWhisk.

Source: OpenWhisk's REST API.
"""

from dataclasses import dataclass
from typing import Any

import httpx
import orjson
from pydantic import BaseModel, TypeAdapter

from skerry.functions.entities import Exec, Function, FunctionExecution
from skerry.functions.errors import FunctionError
from skerry.functions.images import ImageBuilder
from skerry.functions.messages import Context, Message, Runnable, told
from skerry.functions.remote.http import JSON_HEADER, get, output_of, refused, refused_call, request

#: What an action's failure is answered with: the developer's, and the platform's.
_BAD_GATEWAY = 502
_OWNER = "dispatch.skerry.dev/owner"
#: Actions of one answer: the most that OpenWhisk gives.
_PAGE_ACTIONS = 200


class _Action(BaseModel):
    name: str
    annotations: list[dict[str, Any]] | None = None


_ACTIONS = TypeAdapter(list[_Action])


@dataclass(frozen=True)
class OpenWhiskSettings:
    """How functions are deployed.

    Attributes:
        host: URL of the API.
        namespace: "_" for that of the credentials.
        owner: tells our actions from others in the namespace.
    """

    host: str
    namespace: str = "_"
    owner: str = ""


class OpenWhiskDriver:
    """Deploys functions on OpenWhisk and calls them there.

    An action's parameters are the message, `{"context", "payload"}`, and so is its result.

    Args:
        settings: how.
        images: makes their images.
        client: talks to the API, with its credentials (Basic).
    """

    def __init__(self, settings: OpenWhiskSettings, images: ImageBuilder, client: httpx.AsyncClient) -> None:
        self._settings = settings
        self._images = images
        self._client = client

    async def create(self, function: Function, exec_: Exec) -> None:
        """Deploy a function; OpenWhisk starts it at its first call."""
        body: dict[str, Any] = {
            "exec": {
                "kind": "blackbox",
                "image": await self._images.build_image("openwhisk", function.faas_id, exec_),
                "code": "",
                "binary": False,
            },
            "annotations": [{"key": _OWNER, "value": self._settings.owner}],
        }
        if function.timeout_seconds:
            body["limits"] = {"timeout": round(function.timeout_seconds * 1000)}
        url = self._action(function.faas_id)
        status, answer = await request(self._client, "PUT", url, params={"overwrite": "true"}, json=body)
        if status != httpx.codes.OK:
            raise refused(status, answer)

    async def delete(self, function: Function) -> None:
        """Remove a deployment; one that is not there is no error."""
        status, answer = await request(self._client, "DELETE", self._action(function.faas_id))
        if status not in {200, 404}:
            raise refused(status, answer)
        await self._images.remove_image(function.faas_id)

    async def deployments(self) -> set[str]:
        """Return what is deployed with our annotation."""
        actions: dict[str, _Action] = {}
        while True:
            query = {"limit": str(_PAGE_ACTIONS), "skip": str(len(actions))}
            page = await get(self._client, self._action("").rstrip("/"), _ACTIONS, params=query)
            known = len(actions)
            actions |= {action.name: action for action in page}
            if len(page) < _PAGE_ACTIONS or len(actions) == known:
                break
        mine = {"key": _OWNER, "value": self._settings.owner}
        return {name for name, action in actions.items() if mine in (action.annotations or ())}

    def get_runnable(self, execution: FunctionExecution) -> Runnable:
        """Give what invokes an action and waits for its result."""
        url = self._action(execution.faas_id)

        async def run(context: Context, payload: Any) -> Any:
            sent = Message(told(context), payload).as_json()
            wait = {"blocking": "true", "result": "true"}
            status, answer = await request(self._client, "POST", url, params=wait, content=sent, headers=JSON_HEADER)
            if status == _BAD_GATEWAY:
                raise FunctionError(_told(answer))
            if status != httpx.codes.OK:
                raise refused_call(status, answer)
            return output_of(answer, context)

        return run

    def _action(self, name: str) -> str:
        return f"{self._settings.host.rstrip('/')}/api/v1/namespaces/{self._settings.namespace}/actions/{name}"


def _told(answer: bytes) -> str:
    """Return what an action that failed says of it."""
    try:
        document = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return answer.decode(errors="replace")
    error = document.get("error") if isinstance(document, dict) else None
    return error if isinstance(error, str) else orjson.dumps(error or document).decode()
