"""A stand-in for a service broker: the Open Service Broker API v2.16 over real HTTP, as far as its specification says.

It provisions and binds asynchronously, if asked to. It is not a real broker, and no real one is tested against here.
"""

import base64
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from skerry.testing.faas_engines import Answer, FaasEngine

USER, PASSWORD = "skerry", "mellon"
#: What parameters of the plan `small` must be.
SIZED = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "properties": {"size": {"type": "integer"}},
}
SERVICE, SMALL, BARE = "service-1", "plan-small", "plan-bare"


@dataclass
class FakeServiceBroker(FaasEngine):
    """One broker, with the service `database` in the plans `small` and `bare` (which has no bindings).

    Attributes:
        slow: whether it takes some looks until it has made, bound or ended something.
        looks_until_done: so many.
        refuses: what it refuses to provision with; "" for nothing.
        away: how many requests are answered 503 first.
        instances: what was provisioned, by id: the body of the request.
        bindings: likewise.
        looks: by path, how often an operation was looked at.
    """

    slow: bool = False
    looks_until_done: int = 2
    refuses: str = ""
    away: int = 0
    instances: dict[str, Any] = field(default_factory=dict)
    bindings: dict[str, Any] = field(default_factory=dict)
    looks: dict[str, int] = field(default_factory=dict)

    def answer(self, method: str, path: str, headers: dict[str, str], body: Any) -> Answer:
        """Answer a request of the API."""
        if refusal := self._refusal(headers):
            return refusal
        url = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        match method, url.path.strip("/").split("/"):
            case "GET", ["v2", "catalog"]:
                return 200, CATALOG
            case "GET", ["v2", "service_instances", *_, "last_operation"]:
                return self._look(url.path, query)
            case "PUT", ["v2", "service_instances", instance]:
                return self._provision(instance, body)
            case "PUT", ["v2", "service_instances", instance, "service_bindings", binding]:
                return self._bind(instance, binding, body)
            case "GET", ["v2", "service_instances", _, "service_bindings", binding]:
                return (200, {"credentials": credentials(binding)}) if binding in self.bindings else (404, {})
            case "DELETE", ["v2", "service_instances", instance]:
                return self._end(self.instances, instance, "deprovision")
            case "DELETE", ["v2", "service_instances", _, "service_bindings", binding]:
                return self._end(self.bindings, binding, "unbind")
        return 404, {"description": "not found"}

    def _refusal(self, headers: dict[str, str]) -> Answer | None:
        if headers.get("authorization") != "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode():
            return 401, {"description": "who are you?"}
        if not headers.get("x-broker-api-version", "").startswith("2."):
            return 412, {"description": "which version?"}
        if self.away:
            self.away -= 1
            return 503, {"description": "come again"}
        return None

    def _provision(self, instance: str, body: Any) -> Answer:
        if self.refuses:
            return 400, {"error": "Refused", "description": self.refuses}
        self.instances[instance] = body
        return (202, {"operation": "provision"}) if self.slow else (201, {})

    def _bind(self, instance: str, binding: str, body: Any) -> Answer:
        if instance not in self.instances:
            return 404, {"description": "no such instance"}
        self.bindings[binding] = body
        return (202, {"operation": "bind"}) if self.slow else (201, {"credentials": credentials(binding)})

    def _end(self, of: dict[str, Any], name: str, act: str) -> Answer:
        if of.pop(name, None) is None:
            return 410, {}
        return (202, {"operation": act}) if self.slow else (200, {})

    def _look(self, path: str, query: dict[str, str]) -> Answer:
        place = f"{path}?{query.get('operation')}"
        self.looks[place] = self.looks.get(place, 0) + 1
        if self.looks[place] < self.looks_until_done:
            return 200, {"state": "in progress"}
        return (410, {}) if query.get("operation") in {"unbind", "deprovision"} else (200, {"state": "succeeded"})


def credentials(binding: str) -> dict[str, Any]:
    """Return the credentials of a binding."""
    return {"uri": f"db://{binding}", "port": 5432}


CATALOG = {
    "services": [
        {
            "id": SERVICE,
            "name": "database",
            "description": "Tables.",
            "bindable": True,
            "plans": [
                {
                    "id": SMALL,
                    "name": "small",
                    "description": "A small one.",
                    "schemas": {"service_instance": {"create": {"parameters": SIZED}}},
                },
                {"id": BARE, "name": "bare", "description": "Without credentials.", "bindable": False},
            ],
        },
        {"id": "service-2", "name": "not a name", "description": "", "bindable": True, "plans": []},
    ]
}
