"""What the JavaScript engine has answered, read: status, flags, head and body, or what was thrown.

Source: js-engine/world.wit. It is written by code that the function may have tampered with, so nothing of it is taken
for granted.
"""

from typing import Final, NamedTuple, TypedDict

import orjson

from skerry.engine.calls import GuestMemory
from skerry.engine.errors import CallError, FailureKind
from skerry.engine.exchange import response_too_large
from skerry.engine.instances import FilterReply
from skerry.engine.manifest import FunctionManifest

#: What an answer begins with, at the exchange's start: status, call, address and length of head and of body.
ANSWER_WORDS: Final = 6
ANSWER_BYTES: Final = 4 * ANSWER_WORDS

_STATUS_BITS = 0xFFFF
_WORK_LEFT = 0x10000  # this and the next ones are flags beside the status
_BODY_STAYS = 0x20000
_LET_PASS = 0x40000
_MORE_ANSWERS = 0x80000
_FAILED = 0
_NO_ANSWER = 1  # a status that no answer has: there is none
_GOES_ON = 2
_GOES_ON_CHANGED = 3
_SETTLED = 4  # no answer: what was left after it is done
NO_ANSWER_MESSAGE = "the function replaced what its answer is given with, such as Promise.prototype.then or JSON"


class Answer(NamedTuple):
    """What the engine has answered.

    Attributes:
        call: which call.
        status: of HTTP, or what `is_settled`, `has_failed` and `filter_reply` make of it.
        flags: beside the status.
        head: see `instances.Reply`.
        body: likewise.
        work_left: the call goes on after it.
        refusal: why it can't be taken; None where it can.
    """

    call: int
    status: int
    flags: int
    head: bytes
    body: bytes
    work_left: bool = False
    refusal: CallError | None = None

    @property
    def is_last(self) -> bool:
        """Whether the engine has no other."""
        return not self.flags & _MORE_ANSWERS

    @property
    def is_settled(self) -> bool:
        """Whether it is no answer: what was left after it is done."""
        return self.status == _SETTLED

    @property
    def has_failed(self) -> bool:
        """Whether the body is what was thrown; see `problem_of`."""
        return self.status == _FAILED

    @property
    def lets_pass(self) -> bool:
        """Whether a filter that has failed had asked for that to be passed over."""
        return bool(self.flags & _LET_PASS)

    def filter_reply(self) -> FilterReply:
        """Return it as that of a filter."""
        body = None if self.flags & _BODY_STAYS else self.body
        if self.status == _GOES_ON:
            return FilterReply("pass", 200, b"", None, self.work_left)
        if self.status == _GOES_ON_CHANGED:
            return FilterReply("request", 200, self.head, body, self.work_left)
        return FilterReply("response", self.status, self.head, body, self.work_left)


def read_answer(memory: GuestMemory, words: memoryview, manifest: FunctionManifest) -> Answer | None:
    """Read the answer that begins with these `ANSWER_WORDS`; None where there is none."""
    if words[0] == _NO_ANSWER:
        return None
    read = memory.read
    told, call, head_at, head_length, body_at, body_length = words
    status, flags = told & _STATUS_BITS, told & ~_STATUS_BITS
    if body_length > manifest.response_body_bytes_max:
        return Answer(call, status, flags, b"", b"", refusal=response_too_large(manifest))
    try:
        head, body = read(head_at, head_length), read(body_at, body_length)
    except IndexError:
        refusal = CallError(FailureKind.EXCEPTION, NO_ANSWER_MESSAGE)
        return Answer(call, status, flags, b"", b"", refusal=refusal)
    return Answer(call, status, flags, head, body, bool(flags & _WORK_LEFT))


class Problem(TypedDict):
    """What was thrown."""

    name: str
    message: str
    stack: str
    line: int | None
    column: int | None


def problem_of(body: bytes) -> Problem:
    """Read what was thrown."""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        told = None
    if not isinstance(told, dict) or "message" not in told:
        return {"name": "", "message": NO_ANSWER_MESSAGE, "stack": "", "line": None, "column": None}
    name, message, stack = [str(told.get(each) or "") for each in ("name", "message", "stack")]
    line, column = [each if isinstance(each, int) else None for each in (told.get("line"), told.get("column"))]
    return {"name": name, "message": message, "stack": stack, "line": line, "column": column}


def loading_problem(body: bytes) -> Problem | None:
    """Read why a bundle did not load; None where it did."""
    try:
        told = orjson.loads(body)["error"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        told = {}
    return None if told is None else problem_of(orjson.dumps(told))


def sees_responses(told: bytes) -> bool:
    """Tell whether a bundle that has loaded has a hook for responses."""
    try:
        document = orjson.loads(told)
    except orjson.JSONDecodeError:
        return False
    return isinstance(document, dict) and document.get("seesResponses") is True


def sentence_of(problem: Problem) -> str:
    """Return what was thrown, in a sentence."""
    return f"{problem['name']}: {problem['message']}" if problem["name"] else problem["message"]
