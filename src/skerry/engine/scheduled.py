"""A scheduled run, as the node asks a worker for it: `POST /__skerry/scheduled`, JSON, without `x-skerry-revision`.

The gateway writes that header into every request that it sends to a worker, last of all changes. So what comes without
it is from this machine's own node, and nobody else can have a function's scheduled handler run.
"""

from dataclasses import dataclass

import orjson

from skerry.engine.errors import FailureKind
from skerry.engine.http1 import RequestError

SCHEDULED_TARGET = "/__skerry/scheduled"


@dataclass(frozen=True, slots=True)
class ScheduledCall:
    """One run of a revision's scheduled handler.

    Attributes:
        revision: whose handler.
        cron: the fields of the schedule.
        due_ms: when it was due, in milliseconds since the epoch.
    """

    revision: str
    cron: str
    due_ms: int

    @property
    def body(self) -> bytes:
        """The call, as it is sent."""
        return orjson.dumps({"revision": self.revision, "cron": self.cron, "dueMs": self.due_ms})

    @property
    def head(self) -> bytes:
        """The call, as an instance takes it (js-engine/world.wit)."""
        return f"scheduled\n{self.cron}\n{self.due_ms}".encode()

    @classmethod
    def read(cls, body: bytes) -> "ScheduledCall":
        """Read what was sent; raises RequestError."""
        try:
            told = orjson.loads(body)
            return cls(str(told["revision"]), str(told["cron"]).replace("\n", " "), int(told["dueMs"]))
        except (ValueError, KeyError, TypeError) as error:
            raise RequestError(400, FailureKind.BAD_REQUEST, f"not a scheduled run: {error}") from error
