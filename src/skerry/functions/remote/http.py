"""What all engines share: messages over HTTP, bounded in size and time."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import httpx
import orjson
from pydantic import TypeAdapter, ValidationError

from skerry.functions.errors import NoDeployment, SystemError, error_of  # noqa: A004 - see errors
from skerry.functions.messages import ERROR_KEY, LOGS_KEY, Context, Message, logs_of, told
from skerry.kit.deadlines import within

#: A message from a function.
ANSWER_BYTES_MAX = 16 << 20
#: How long a deployment may take until it can be called.
READY_SECONDS_MAX = 60.0
#: What is quoted of an engine's refusal.
QUOTED_CHARACTERS_MAX = 1024

#: Tells what a message is.
JSON_HEADER = {"content-type": "application/json"}

_FIRST_SECONDS = 0.25

T = TypeVar("T")


async def request(client: httpx.AsyncClient, method: str, url: str, **more: Any) -> tuple[int, bytes]:
    """Send a request; return status and body.

    Raises:
        SystemError: the engine can't be reached, or answers more than `ANSWER_BYTES_MAX`.
    """
    try:
        async with client.stream(method, url, **more) as response:
            body = bytearray()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > ANSWER_BYTES_MAX:
                    raise SystemError(f"the answer of {url} has more than {ANSWER_BYTES_MAX} bytes")
            return response.status_code, bytes(body)
    except httpx.HTTPError as error:
        raise SystemError(f"{method} {url}: {error or type(error).__name__}") from error


def refused(status: int, body: bytes) -> SystemError:
    """Tell of an answer that is not what was asked for."""
    said = body.decode(errors="replace")[:QUOTED_CHARACTERS_MAX]
    return SystemError(f"Server returned unexpected status code: {status} - {said}")


def refused_call(status: int, body: bytes) -> SystemError:
    """Tell of an engine's refusal of a call: 404 where it knows no such function, as a function itself answers 200."""
    error = refused(status, body)
    return NoDeployment(error.message) if status == httpx.codes.NOT_FOUND else error


async def get(
    client: httpx.AsyncClient,
    url: str,
    shape: TypeAdapter[T],
    *,
    refusal: Callable[[int, bytes], SystemError] = refused,
    **more: Any,
) -> T:
    """Return what an engine's API says at a URL, read as `shape`.

    Raises:
        SystemError: as `request`; the answer is not 200 (then what `refusal` makes of it), or not of that shape.
    """
    status, answer = await request(client, "GET", url, **more)
    if status != httpx.codes.OK:
        raise refusal(status, answer)
    return read(shape, answer)


def read(shape: TypeAdapter[T], answer: bytes) -> T:
    """Read an answer of an engine's API; raises SystemError where it is not of that shape."""
    try:
        return shape.validate_json(answer)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = "".join(f"{part}: " for part in wrong["loc"])
        raise SystemError(f"the engine's answer is not what its API describes: {where}{wrong['msg']}") from error


async def call(
    client: httpx.AsyncClient,
    url: str,
    message: Message,
    headers: Mapping[str, str] | None = None,
    *,
    refusal: Callable[[int, bytes], SystemError] = refused,
) -> Any:
    """Send a message to a function and return its output; the context's logs get what it printed.

    Args:
        client: sends it.
        url: of the function.
        message: to the function.
        headers: more of them.
        refusal: says what an answer means that is not 200: `refused_call` where an engine stands before the function.

    Raises:
        InvocationError: what the function's answer tells.
        SystemError: it can't be reached; its answer, or the message to it, is none.
    """
    body = Message(told(message.context), message.payload).as_json()
    status, answer = await request(client, "POST", url, content=body, headers={**JSON_HEADER, **(headers or {})})
    if status != httpx.codes.OK:
        raise refusal(status, answer)
    return output_of(answer, message.context)


def output_of(answer: bytes, context: Context) -> Any:
    """Read a function's answer; see `call`."""
    try:
        document = orjson.loads(answer)
        said = document.get("context") or {}
        logs = said.get(LOGS_KEY) or {}
        logs_of(context).extend(_lines(logs.get("stdout")), _lines(logs.get("stderr")))
    except (ValueError, AttributeError, TypeError) as error:
        raise SystemError(f"the function's answer is no message: {error}") from error
    if failure := error_of(said.get(ERROR_KEY)):
        raise failure
    return document.get("payload")


def _lines(told: Any) -> list[str]:
    """Read lines leniently, as runtimes differ in what they tell."""
    return [str(line) for line in told] if isinstance(told, list) else []


async def until_ready(is_ready: Callable[[], Awaitable[bool]], what: str, seconds: float = READY_SECONDS_MAX) -> None:
    """Look until something is ready, less and less often.

    Raises:
        SystemError: it was not within `seconds`.
    """
    try:
        with within(seconds) as limit:
            delay = _FIRST_SECONDS * (1 + random.random())  # noqa: S311 - spreads callers, hides nothing
            while not await is_ready():
                await asyncio.sleep(delay)
                delay += delay * random.random()  # noqa: S311 - likewise
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise SystemError(f"{what} was not ready within {seconds:.0f} s") from error
