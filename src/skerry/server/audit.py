"""The audit log: who asked for what and what became of it, as `audit.k8s.io/v1` JSON lines in a file.

Recorded are writes and what was refused with 401 or 403; reads only where they are asked for, health never. The level
is Metadata: no body, no header but the user agent, so no secret can get in. Lines are written off the event loop.

Invariant: whoever has no credential can't push out what those who have one did. What was answered 401 has a queue and a
file of its own, with bounds of its own.
"""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import orjson

from skerry.api.errors import BadRequest, Forbidden, Unauthorized
from skerry.api.model import Document
from skerry.kit.clock import Clock, rfc3339_micro
from skerry.kit.errors import ConfigurationError
from skerry.kit.files import make_private_directory
from skerry.kit.tasks import Wakeup, background, keep_running
from skerry.server import health
from skerry.server.access import path_verb
from skerry.server.audit_file import AuditFile
from skerry.server.auth import ANONYMOUS
from skerry.server.authorization.defaults import JOINING_PREFIXES
from skerry.server.http import Request
from skerry.server.kube.acts import resource_act
from skerry.server.kube.paths import ResourcePath, parse_path

Stage = Literal["ResponseStarted", "ResponseComplete"]

URI_CHARACTERS_MAX = 2048
USER_AGENT_CHARACTERS_MAX = 256
REASON_CHARACTERS_MAX = 2048
#: Of a name in a body, which may be refused for its length.
NAME_CHARACTERS_MAX = 253
#: Looked at besides wake-ups, so that nothing waits for longer.
FLUSH_SECONDS = 10.0
#: How long lines are gathered for one write: a hop to the thread that writes costs as much as a hundred lines.
GATHER_SECONDS = 0.05
_READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_REFUSALS = frozenset({Unauthorized.code, Forbidden.code})


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """Where and how much is kept.

    Attributes:
        path: the file that is written; older ones stand beside it as `.1` (the newest) and so on. Answers 401 are in
            one beside it, `unauthorized_path`, with one older file.
        reads: whether reads are recorded, too.
        file_bytes_max: a file that reached this is put aside.
        files_max: files besides the one that is written.
        queue_events_max: events that wait to be written.
    """

    path: Path
    reads: bool = False
    file_bytes_max: int = 64 * 1024 * 1024
    files_max: int = 9
    queue_events_max: int = 10_000

    def __post_init__(self) -> None:
        if min(self.file_bytes_max, self.files_max, self.queue_events_max) <= 0:
            raise ConfigurationError("file_bytes_max, files_max and queue_events_max must be above 0")

    @property
    def unauthorized_path(self) -> Path:
        """The file of answers 401."""
        return self.path.with_name(f"{self.path.stem}-unauthorized{self.path.suffix}")


class Answered(NamedTuple):
    """What became of a request."""

    audit_id: str
    code: int
    stage: Stage
    received: dt.datetime


class AuditLog:
    """Records requests; `running()` is its life."""

    def __init__(self, settings: AuditSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        queue, size = settings.queue_events_max, settings.file_bytes_max
        self._known = AuditFile(
            settings.path, file_bytes_max=size, files_max=settings.files_max, queue_events_max=queue
        )
        self._unknown = AuditFile(settings.unauthorized_path, file_bytes_max=size, files_max=1, queue_events_max=queue)
        self._wakeup = Wakeup()
        self._executor = ThreadPoolExecutor(1, "audit")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write what is recorded for the length of the block, and the rest at its end."""
        make_private_directory(self._settings.path.parent)
        try:
            async with background(("audit", self._run)):
                yield
        finally:
            self._executor.shutdown()
            for file in (self._known, self._unknown):
                file.write(file.take())

    async def _run(self) -> None:
        await keep_running("audit", self._flush, wakeup=self._wakeup, resync_seconds=FLUSH_SECONDS)

    async def _flush(self) -> None:
        await asyncio.sleep(GATHER_SECONDS)
        loop = asyncio.get_running_loop()
        for file in (self._known, self._unknown):
            if lines := file.take():
                # On its way before anything is awaited, and shielded: a stop waits for these lines, and loses none.
                await asyncio.shield(loop.run_in_executor(self._executor, file.write, lines))

    def record(self, request: Request, answered: Answered) -> None:
        """Record a request where it is one to be recorded; never waits."""
        if request.path in health.PATHS:
            return
        is_read = request.is_routine or request.method in _READING_METHODS
        if is_read and not self._settings.reads and answered.code not in _REFUSALS:
            return
        file = self._unknown if _is_of_nobody(request, answered) else self._known
        if file.has_room():
            file.add(partial(_line, request, answered, self._clock.now()))
            self._wakeup.set()


def _line(request: Request, answered: Answered, now: dt.datetime) -> bytes:
    return orjson.dumps(_event(request, answered, now)) + b"\n"


def _uri(request: Request) -> str:
    """Return what was asked for, without the tokens by which devices fetch what they are installed from."""
    return request.path if request.path.startswith(JOINING_PREFIXES) else request.uri


def _is_of_nobody(request: Request, answered: Answered) -> bool:
    """Tell whether somebody without a credential can have as many of them as he likes."""
    return answered.code == Unauthorized.code or (answered.code >= 400 and request.user == ANONYMOUS)


def _event(request: Request, answered: Answered, now: dt.datetime) -> Document:
    asking = request.impersonator or request.user
    verb, reference = _what(request)
    host = request.client_host
    event: Document = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": answered.audit_id,
        "stage": answered.stage,
        "requestURI": _uri(request)[:URI_CHARACTERS_MAX],
        "verb": verb,
        "user": asking.info(),
        "sourceIPs": [host] if host else [],
        "userAgent": request.header(b"user-agent")[:USER_AGENT_CHARACTERS_MAX],
        "responseStatus": {"metadata": {}, "code": answered.code},
        "requestReceivedTimestamp": rfc3339_micro(answered.received),
        "stageTimestamp": rfc3339_micro(now),
    }
    if request.impersonator is not None:
        event["impersonatedUser"] = request.user.info()
    if request.decision is not None:
        event["annotations"] = {
            "authorization.k8s.io/decision": "allow" if request.decision.allowed else "forbid",
            "authorization.k8s.io/reason": request.decision.reason[:REASON_CHARACTERS_MAX],
        }
    if reference:
        event["objectRef"] = reference
    return event


def _what(request: Request) -> tuple[str, Document]:
    """Return the verb, and what it was about: {} for what is no resource."""
    path = parse_path(request.path) if request.path.startswith("/api") else None
    if not isinstance(path, ResourcePath) or not path.plural:
        return path_verb(request.method), {}
    try:
        verb = resource_act(request.method, path, request.query).verb
    except BadRequest:
        verb = request.method.lower()  # its query was refused for the same reason
    reference = {
        "resource": path.plural,
        "namespace": path.namespace,
        "name": path.name or request.created_name[:NAME_CHARACTERS_MAX],
        "apiGroup": path.group,
        "apiVersion": path.version,
        "subresource": path.subresource,
    }
    return verb, {key: value for key, value in reference.items() if value}
