"""Health: whether the process lives, and whether it is ready to do its work."""

from collections.abc import Sequence
from typing import Protocol

from skerry.kit.logs import get_logger
from skerry.server.http import TEXT, Request, Response

log = get_logger(__name__)

LIVENESS_PATHS = frozenset({"/healthz", "/livez"})
READINESS_PATH = "/readyz"
PATHS = frozenset({*LIVENESS_PATHS, READINESS_PATH})


class ReadinessCheck(Protocol):
    """Something that must be well before the server counts as ready."""

    @property
    def name(self) -> str:
        """What is checked, in one word."""
        ...

    async def ready(self) -> str:
        """Return "" where all is well, else one sentence that says what is missing."""
        ...


class Health:
    """Answers the health paths."""

    def __init__(self, checks: Sequence[ReadinessCheck]) -> None:
        self._checks = tuple(checks)

    async def answer(self, request: Request) -> Response:
        """Answer `ok`, or 500 with what is not; with `?verbose` every check by name."""
        checks = self._checks if request.path == READINESS_PATH else ()
        missing = {check.name: await _outcome(check) for check in checks}
        failed = any(missing.values())
        if "verbose" not in request.query and not failed:
            return Response(b"ok", content_type=TEXT)
        lines = [f"[-]{name} failed: {why}" if why else f"[+]{name} ok" for name, why in missing.items()]
        verdict = f"{request.path[1:]} check {'failed' if failed else 'passed'}"
        return Response("\n".join([*lines, verdict, ""]).encode(), 500 if failed else 200, TEXT)


async def _outcome(check: ReadinessCheck) -> str:
    try:
        return await check.ready()
    except Exception:
        log.exception("readiness check failed", check=check.name)
        return "the check itself failed; see the log"
