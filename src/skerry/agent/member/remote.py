"""Commands that come over the link: what an instance prints, how an application is, and what functions count.

    {"kind": "cmd", "meta": {"cmd": "logs", "name": "web.7.main.0", "token": "t1"}, "content": {"Follow": true}}

Answers are frames with the command's token: `data`, and a `cmd` that says how it ended. `metrics` is ours. Of Baetyl's
commands, `logs`, `describe` and `disconnect` are taken; the others would let whoever holds the control plane run
commands on this machine or call into it, and are refused. Owns the commands that run.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial

import yaml

from skerry.agent.member.applications import Applications
from skerry.agent.member.errors import LinkError
from skerry.agent.member.gateways import Gateways
from skerry.agent.member.printed import PART_BYTES_MAX
from skerry.agent.member.usage import host_name
from skerry.fleet import frames
from skerry.fleet.frames import Frame
from skerry.fleet.log_wishes import read_log_wish
from skerry.kit.errors import SkerryError
from skerry.kit.logs import get_logger
from skerry.kit.tasks import Loops

log = get_logger(__name__)

#: Commands that run at once.
COMMANDS_MAX = 32


class Remote:
    """Does what commands ask for; `running()` is its life.

    Args:
        applications: what is asked about.
        gateways: whose functions are asked about.
        send: sends frames; raises LinkError.
    """

    def __init__(
        self, applications: Applications, gateways: Gateways, send: Callable[[Frame], Awaitable[None]]
    ) -> None:
        self._applications = applications
        self._gateways = gateways
        self._send = send
        self._loops = Loops()
        self._running: dict[str, AsyncGenerator[bytes, None]] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take commands for the length of the block."""
        async with self._loops.running():
            yield

    def hear(self, frame: Frame) -> None:
        """Take a command; one of a token that runs already takes its place."""
        token, command = frame.meta.get(frames.TOKEN, ""), frame.meta.get(frames.CMD, "")
        if not token:
            log.warning("a command without a token is passed over", command=command)
            return
        self._end(token)
        if command != frames.DISCONNECT:
            refused = len(self._running) >= COMMANDS_MAX
            work = self._running[token] = self._refuse(token) if refused else self._work(token, command, frame)
            self._loops.start(token, partial(self._serve, token, work))

    def end_all(self) -> None:
        """End every command: whoever asked is not there any more."""
        for token in tuple(self._running):
            self._end(token)

    def _end(self, token: str) -> None:
        self._running.pop(token, None)
        self._loops.stop(token)

    async def _serve(self, token: str, work: AsyncGenerator[bytes, None]) -> None:
        """Answer a command to its end; never raises."""
        reason = frames.DISCONNECT
        try:
            try:
                async with aclosing(work) as parts:
                    async for part in parts:
                        await self._send(frames.data_frame(token, part))
            except LinkError:
                raise
            except (SkerryError, OSError) as error:
                reason = error.public if isinstance(error, SkerryError) else error.strerror or str(error)
            except Exception:
                log.exception("a command failed", token=token)
                reason = "the command failed: the log of the agent tells more"
            await self._send(frames.ending_frame(token, reason))
        except LinkError as error:
            log.info("a command ended with the link", reason=error.public)
        finally:
            if self._running.get(token) is work:  # else another command has taken its place
                self._end(token)

    async def _refuse(self, token: str) -> AsyncGenerator[bytes, None]:
        raise SkerryError(f"this node serves {COMMANDS_MAX} commands at once, and not {token} besides")
        yield b""  # which makes it a generator

    async def _work(self, token: str, command: str, frame: Frame) -> AsyncGenerator[bytes, None]:
        """Yield what a command prints; raises SkerryError where it can't be done."""
        log.info("a command", command=command, token=token, about=frame.meta.get("name", ""))
        match command:
            case "logs":
                wish = read_log_wish(frame.content)
                left = wish.limit_bytes
                about = frame.meta.get("name", "")
                is_function = frame.meta.get(frames.RESOURCE_TYPE) == frames.EDGE_FUNCTION
                printed = (self._gateways.function_logs if is_function else self._applications).printed(about, wish)
                async with aclosing(printed) as parts:
                    async for part in parts:
                        yield part[:left]
                        left -= len(part)
                        if left <= 0:
                            return
            case "describe":
                told = self._applications.described(frame.meta.get("name", ""), host_name())
                yield yaml.safe_dump(told, sort_keys=False, allow_unicode=True).encode()
            case frames.METRICS:
                counted = await self._gateways.metrics()
                for start in range(0, len(counted), PART_BYTES_MAX):
                    yield counted[start : start + PART_BYTES_MAX]
            case _:
                raise SkerryError(f"this node does not take the command {command[:64]!r}")
