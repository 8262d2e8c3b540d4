"""Runs: begin one and wait for it or not, list, get, cancel."""

import asyncio
import uuid

from skerry.api.dispatch_calls import run_of
from skerry.api.dispatch_traces import trace_of
from skerry.api.dispatch_v1 import RUN, Function, Run, RunSpec, is_finished
from skerry.api.errors import AlreadyExists, BadRequest, NotFound
from skerry.api.model import ObjectMeta, made
from skerry.kit.ids import Ids, is_uuid
from skerry.kit.tasks import SharedCalls
from skerry.server.dispatch.bodies import RunBody, modified_seconds, run_json, run_spec, spec_of
from skerry.server.dispatch.door import Asked, Operation, Runs
from skerry.server.dispatch.errors import WRONG_TYPE, RequestRefused
from skerry.server.dispatch.selecting import has_application, since_seconds, wanted_applications
from skerry.server.http import Response
from skerry.server.objects import Objects
from skerry.server.operations import json

_COLLECTION = "/v1/runs"
_ITEM = "/v1/runs/{name}"

#: How long a request may wait for its function to become READY (`Prefer: wait=N`).
WAIT_SECONDS_MAX = 50.0
_LOOK_SECONDS = 0.05
#: What a failed run that was waited for is answered with, where `Prefer: status=strict` is asked for.
_STRICT = {"InputError": 422, "FunctionError": 502}
#: Names the runs of an idempotency key.
_KEYS = uuid.UUID("6f1f4f5c-52ab-4b51-9c1c-0a6b0f2f7c11")


class FunctionRuns:
    """The handlers of runs.

    Args:
        runs: executes them.
        ids: names them.
    """

    def __init__(self, runs: Runs, ids: Ids) -> None:
        self._runs = runs
        self._ids = ids
        #: The runs that go on for callers who gave a key, so that who asks again as they do waits for the same.
        self._keyed = SharedCalls[tuple[str, str], Run]("dispatch-keyed-runs")

    def operations(self) -> list[Operation]:
        """Return what may be asked."""
        return [
            Operation("POST", _COLLECTION, "create", RUN, self.create),
            Operation("GET", _COLLECTION, "list", RUN, self.list),
            Operation("GET", _ITEM, "get", RUN, self.get),
            Operation("DELETE", _ITEM, "delete", RUN, self.delete),
        ]

    async def create(self, asked: Asked) -> Response:
        """Run a function: 202 once the run is stored, or 200 once it is over where it is blocking."""
        name = asked.query("functionName")
        if not name:
            raise BadRequest("Bad Request: No function specified")
        body = await asked.body(RunBody, "Bad Request: Invalid Payload")
        prefer = _preferences(asked)
        function = await _ready(asked.objects, name, min(_seconds(prefer.get("wait", "0")), WAIT_SECONDS_MAX))
        key = asked.request.header(b"idempotency-key")
        run_name = str(uuid.uuid5(_KEYS, f"{function.uid}/{key}") if key else self._ids.uid())
        trace = trace_of(asked.request.header(b"traceparent"), asked.request.header(b"tracestate"))
        spec = spec_of(RunSpec, run_spec(name, body) | {"trace": trace})
        run = run_of(function, spec, made(ObjectMeta, {"name": run_name, "namespace": function.namespace}))
        if key and (known := await _find(asked.objects, run_name)) is not None:
            return _answer(known, prefer)
        asked.objects.require_secrets(run.spec.secrets or ())
        asked.objects.require_services(run.spec.services or ())
        try:
            if not body.blocking:
                ended = await self._runs.submit(run)
            elif key:
                ended = await self._keyed.run((run.namespace, run_name), lambda: self._runs.run_now(function, run))
            else:
                ended = await self._runs.run_now(function, run)
            return _answer(ended, prefer)
        except AlreadyExists:
            return _answer(await asked.objects.get(Run, run_name), prefer)

    async def list(self, asked: Asked) -> Response:
        """List runs, of all functions or of one."""
        name, since = asked.query("functionName"), since_seconds(asked.query("since"))
        wanted = wanted_applications(asked.query_list("tags"))
        return json(
            [
                run_json(run)
                async for run in asked.objects.list(Run)
                if name in {"", run.spec.function_name}
                and modified_seconds(run) > since
                and has_application(run.spec.tags, wanted)
            ]
        )

    async def get(self, asked: Asked) -> Response:
        """Return a run."""
        run = await named_run(asked)
        if modified_seconds(run) <= since_seconds(asked.query("since")):
            raise NotFound("function run  not found")
        return json(run_json(run))

    async def delete(self, asked: Asked) -> Response:
        """Cancel a run that goes on (202), or remove one that is over (200)."""
        run = await named_run(asked)
        if is_finished(run):
            return json(run_json(await asked.objects.delete(Run, run.name)))
        return json(run_json(await asked.objects.patch(Run, run.name, {"spec": {"cancelled": True}})), 202)


async def named_run(asked: Asked) -> Run:
    """Return the run that a path names; raises RequestRefused where it is no UUID, and NotFound."""
    name = asked.name
    if not is_uuid(name):
        raise RequestRefused(WRONG_TYPE, f"runName in path must be of type uuid: {name!r}")
    run = await _find(asked.objects, name)
    if run is None or asked.query("functionName") not in {"", run.spec.function_name}:
        raise NotFound("function run  not found")
    return run


async def _find(objects: Objects, name: str) -> Run | None:
    try:
        return await objects.get(Run, name)
    except NotFound:
        return None


async def _ready(objects: Objects, name: str, seconds: float) -> Function:
    """Return a function that can be run, waiting for it if need be; raises NotFound as Dispatch does."""
    while True:
        function = await objects.get_shared(Function, name)
        if function.status.faas_id and not function.metadata.deletion_timestamp:
            return function
        if seconds <= 0:
            raise NotFound(f"function {name} is not READY")
        await asyncio.sleep(_LOOK_SECONDS)
        seconds -= _LOOK_SECONDS


def _preferences(asked: Asked) -> dict[str, str]:
    """Read the header Prefer (RFC 7240): `wait=N`, `status=strict`."""
    header = asked.request.header(b"prefer")
    if not header:
        return {}
    given = (part.partition("=") for part in header.split(","))
    return {name.strip().lower(): value.strip().strip('"') for name, _, value in given}


def _seconds(text: str) -> float:
    return float(text) if text.isdecimal() else 0.0


def _answer(run: Run, prefer: dict[str, str]) -> Response:
    if not is_finished(run):
        return json(run_json(run), 202)
    failed = run.status.error.type if run.status.error else ""
    strict = prefer.get("status") == "strict" and run.status.state == "ERROR"
    return json(run_json(run), _STRICT.get(failed, 500) if strict else 200)
