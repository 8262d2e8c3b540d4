"""Holds a front door's answers to its own OpenAPI document: a hook for clients, so that every test is one of it."""

import re
from typing import Any

import httpx
from jsonschema_rs import Draft202012Validator

_NAME = re.compile(r"\\\{(\w+)\\\}")


class Described:
    """Checks answers.

    Args:
        document: the OpenAPI document.

    Attributes:
        seen: the operations that were answered, as method and path.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._paths = [(re.compile(_NAME.sub(r"[^/]+", re.escape(path))), path) for path in document["paths"]]
        self._validators: dict[str, Draft202012Validator] = {}
        self.seen: set[tuple[str, str]] = set()

    @classmethod
    def watch(cls, http: httpx.Client) -> "Described":
        """Have every answer to a client checked from now on."""
        described = cls(http.get("/v1/openapi.json").raise_for_status().json())
        http.event_hooks["response"].append(described.check)
        return described

    def check(self, response: httpx.Response) -> None:
        """Insist that an answer is one that the document tells; raises AssertionError."""
        request = response.request
        told = next((path for pattern, path in self._paths if pattern.fullmatch(request.url.path.rstrip("/"))), None)
        operation = self._document["paths"].get(told, {}).get(request.method.lower()) if told else None
        if response.headers.get("content-type") == "text/event-stream":
            return
        if told is None or operation is None:
            if response.is_success and request.url.path.startswith("/v1/") and not request.url.path.endswith(".json"):
                raise AssertionError(f"{request.method} {request.url.path} is answered and not described")
            return
        self.seen.add((request.method, told))
        responses = operation["responses"]
        status = str(response.status_code)
        if response.is_success and status not in responses:
            raise AssertionError(f"{request.method} {told} answers {status}, and tells {sorted(responses)}")
        content = responses.get(status, responses["default"]).get("content")
        if content is None:
            return
        if response.headers.get("content-type") != "application/json":
            return
        response.read()
        self._check_schema(f"{request.method} {told} {status}", content["application/json"]["schema"], response)

    async def checked(self, response: httpx.Response) -> None:
        """Do as `check`, for clients that wait."""
        await response.aread()
        self.check(response)

    def _check_schema(self, what: str, schema: dict[str, Any], response: httpx.Response) -> None:
        for error in self._validator(schema).iter_errors(response.json()):
            raise AssertionError(f"{what}: {error.message} at {list(error.instance_path)}")

    def _validator(self, schema: dict[str, Any]) -> Draft202012Validator:
        key = repr(schema)
        if key not in self._validators:
            self._validators[key] = Draft202012Validator({**schema, "components": self._document["components"]})
        return self._validators[key]
