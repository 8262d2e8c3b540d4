"""A client of Dispatch's front door, for tests that drive it as Dispatch's own clients do."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from skerry.testing.described import Described
from skerry.testing.skerry_process import SkerryProcess
from skerry.testing.waiting import until


class DispatchClient:
    """Speaks for one organization.

    Args:
        http: with a credential.

    Attributes:
        described: holds every answer to the door's own description of it.
    """

    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        self.http.headers["x-dispatch-org"] = "default"
        self.described = Described.watch(http)

    @classmethod
    @contextmanager
    def of(cls, skerry: SkerryProcess) -> Iterator["DispatchClient"]:
        """Be its administrator for the length of the block."""
        with skerry.api_client() as http:
            yield cls(http)

    def post(self, path: str, status: int, /, **body: Any) -> Any:
        """Send a JSON body, insist on the answer's status, and return its document."""
        answer = self.http.post(path, json=body)
        if answer.status_code != status:
            raise AssertionError(f"{path} answered {answer.status_code}: {answer.text}")
        return answer.json()

    def create_function(self, name: str, code: str, **more: Any) -> None:
        """Register a Python function (its text has `handle`), and wait until it can be run."""
        self.post("/v1/function", 201, name=name, image="python3", code=code, main="handle", **more)
        self.until(f"/v1/function/{name}", lambda found: found["status"] == "READY")

    def runs(self, function: str) -> list[Any]:
        """Return the runs of a function."""
        return list(self.http.get("/v1/runs", params={"functionName": function}).json())

    def until(self, path: str, holds: Any, **query: str) -> Any:
        """Wait until what a path answers is so, and return it."""
        seen: list[Any] = []

        def look() -> bool:
            seen[:] = [self.http.get(path, params=query).json()]
            return bool(holds(seen[0]))

        try:
            until(look)
        except AssertionError as error:
            raise AssertionError(f"{path} did not come to what was waited for: {seen}") from error
        return seen[0]

    def finished(self, function: str, count: int = 1) -> list[Any]:
        """Wait until so many runs of a function are over, and return all that are: the next may have begun."""

        def over(runs: list[Any]) -> list[Any]:
            return [run for run in runs if run["status"] in {"READY", "ERROR"}]

        return over(self.until("/v1/runs", lambda runs: len(over(runs)) >= count, functionName=function))
