"""Stand-ins for OpenFaaS, Knative and OpenWhisk, which can't run on one machine of a test.

Each behaves as its API documents, as far as the drivers use it, over real HTTP; the functions that it "runs" are Python
functions of a message's document. The real engines are not tested against here.
"""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from skerry.testing.threaded import in_a_thread

#: What a function makes of a message: status and body.
Behaviour = Callable[[dict[str, Any]], tuple[int, Any]]
Answer = tuple[int, Any]


def echo(message: dict[str, Any]) -> Answer:
    """Answer with the message, and a line that was printed."""
    logs = {"stdout": ["called"], "stderr": []}
    return 200, {"context": {"logs": logs, "error": None}, "payload": message}


@dataclass
class FaasEngine:
    """One engine: what is deployed, and what was asked.

    Attributes:
        behaviour: of every function.
        looks_until_ready: how often a new function is looked at before it is ready.
        deployed: name to what it was deployed with.
        requests: method and path of each.
        url: where it is reached.
    """

    behaviour: Behaviour = echo
    looks_until_ready: int = 1
    deployed: dict[str, Any] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, method: str, path: str, headers: dict[str, str], body: Any) -> Answer:
        """Answer a request."""
        raise NotImplementedError

    def _is_ready(self, name: str) -> bool:
        self.deployed[name]["looks"] = self.deployed[name].get("looks", 0) + 1
        return bool(self.deployed[name]["looks"] > self.looks_until_ready)


class OpenFaas(FaasEngine):
    """An OpenFaaS gateway."""

    def answer(self, method: str, path: str, headers: dict[str, str], body: Any) -> Answer:  # noqa: ARG002
        """Answer a request of the gateway's API."""
        match method, path.strip("/").split("/"):
            case "POST", ["system", "functions"]:
                if not body.get("image"):
                    return 400, "image is required"
                self.deployed[body["service"]] = dict(body)
                return 202, ""
            case "GET", ["system", "function", name] if name in self.deployed:
                return 200, {"name": name, "availableReplicas": int(self._is_ready(name))}
            case "GET", ["system", "functions"]:
                return 200, [{"name": name, "labels": body.get("labels")} for name, body in self.deployed.items()]
            case "DELETE", ["system", "functions"]:
                return (202, "") if self.deployed.pop(body["functionName"], None) else (404, "not found")
            case "POST", ["function", name] if name in self.deployed:
                return self.behaviour(body)
        return 404, "not found"


class Knative(FaasEngine):
    """A Kubernetes API with Knative Serving, and the ingress of its Services on the same port."""

    failure: str = ""

    def answer(self, method: str, path: str, headers: dict[str, str], body: Any) -> Answer:
        """Answer a request of the API, or to a Service by its host."""
        path, _, query = path.partition("?")
        parts = path.strip("/").split("/")
        if parts[:3] != ["apis", "serving.knative.dev", "v1"]:
            name = headers["host"].partition(".")[0]
            return self.behaviour(body) if name in self.deployed else (404, "no such host")
        match method, parts[5:]:
            case "POST", ["services"]:
                self.deployed[body["metadata"]["name"]] = dict(body)
                return 201, body
            case "GET", ["services"]:
                key, _, value = parse_qs(query)["labelSelector"][0].partition("=")
                found = [body for body in self.deployed.values() if body["metadata"]["labels"].get(key, "") == value]
                return 200, {"items": found}
            case "GET", ["services", name] if name in self.deployed:
                return 200, self._service(name)
            case "DELETE", ["services", name]:
                return (200, {}) if self.deployed.pop(name, None) else (404, {"kind": "Status", "code": 404})
        return 404, {"kind": "Status", "code": 404}

    def _service(self, name: str) -> dict[str, Any]:
        condition = {"type": "Ready", "status": "True" if self._is_ready(name) else "Unknown"}
        if self.failure:
            condition = {"type": "Ready", "status": "False", "reason": "RevisionFailed", "message": self.failure}
        return {"status": {"url": f"http://{name}.default.example.com", "conditions": [condition]}}


class OpenWhisk(FaasEngine):
    """An OpenWhisk API with one user."""

    def answer(self, method: str, path: str, headers: dict[str, str], body: Any) -> Answer:
        """Answer a request of the API."""
        if headers.get("authorization") != "Basic " + base64.b64encode(b"user:key").decode():
            return 401, {"error": "The supplied authentication is invalid"}
        place, _, query = path.partition("?")
        name = place.rpartition("/")[2]
        if method == "PUT":
            known = name in self.deployed
            if known and "overwrite=true" not in query:
                return 409, {"error": "resource already exists"}
            self.deployed[name] = dict(body)
            return 200, {"name": name}
        if method == "GET" and name == "actions":
            return 200, [{"name": each, "annotations": body["annotations"]} for each, body in self.deployed.items()]
        if name not in self.deployed:
            return 404, {"error": "The requested resource does not exist."}
        if method == "DELETE":
            return 200, self.deployed.pop(name)
        return self.behaviour(body)


@contextmanager
def serving(engine: FaasEngine) -> Iterator[FaasEngine]:
    """Serve an engine on loopback for the length of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            engine.requests.append(f"{self.command} {self.path}")
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, body = engine.answer(self.command, self.path, headers, json.loads(raw) if raw else None)
            sent = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = do_PUT = do_DELETE = handle_one  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    engine.url = f"http://127.0.0.1:{server.server_address[1]}"
    with in_a_thread(server):
        yield engine
