"""The JSON of Dispatch's functions, runs and secrets, and what it is of our kinds.

Both eras of its API are read: `source` (base64 of an archive or of a text) with `handler`, and `code` (the text) with
`main`. Fields that Dispatch does not know are ignored, as it ignores them. What it filled in wrongly is filled in
right: a run's `services`, and its `finishedTime` when it failed.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from skerry.api.core_v1 import Secret
from skerry.api.dispatch_v1 import (
    DELETING,
    INITIALIZED,
    RESOLVED_REFS,
    Function,
    FunctionSchema,
    FunctionSpec,
    Run,
    Tag,
)
from skerry.api.errors import BadRequest
from skerry.api.model import Conditions, Document, Model, condition_of, to_document
from skerry.functions import SchemaError, check_schema
from skerry.kit.clock import from_rfc3339
from skerry.server.dispatch.errors import PATTERN, RequestRefused, of_model

#: What Dispatch writes of a time that has not come: year 1, as seconds since 1970.
NO_TIME = -62135596800
#: Times whose seconds are at hand: of what is asked for, most is of now.
_TIMES_REMEMBERED = 64
#: Stands for a value of a secret that was not asked for.
HIDDEN = "<hidden>"

_NAME = re.compile(r"\w[\w-]*", re.ASCII)
_STORED = re.compile(r"es://(?:sha256:)?([0-9a-f]{64})")
#: How an archive (gzip) and a Wasm binary begin.
_BINARY = (b"\x1f\x8b", b"\0asm")
_TEXT_FILE_MODULE = "function"

S = TypeVar("S", bound=Model)


class Body(BaseModel):
    """Base of what is read of a request's body."""

    model_config = ConfigDict(strict=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True)


class TagBody(Body):
    """A tag."""

    key: str
    value: str = ""


class SchemaBody(Body):
    """Schemas of input and output."""

    in_: dict[str, Any] | None = Field(default=None, alias="in")
    out: dict[str, Any] | None = None


class FunctionBody(Body):
    """A function as it is created or replaced."""

    name: str
    image: str
    handler: str = ""
    source: str = ""
    source_url: str = Field(default="", alias="sourceURL")
    code: str = ""
    main: str = "main"
    schema_: SchemaBody | None = Field(default=None, alias="schema")
    secrets: list[str] | None = None
    services: list[str] | None = None
    timeout: int = 0
    tags: list[TagBody] | None = None
    concurrency: int | None = None
    schedules: list[dict[str, Any]] | None = None
    on_failure: dict[str, Any] | None = Field(default=None, alias="onFailure")


class RunBody(Body):
    """A run as it is asked for; `retries` and `backoff` are Skerry's own."""

    blocking: bool = False
    input: Any = None
    secrets: list[str] | None = None
    services: list[str] | None = None
    http_context: dict[str, Any] | None = Field(default=None, alias="httpContext")
    event: dict[str, Any] | None = None
    tags: list[TagBody] | None = None
    retries: int = 0
    backoff: str = "1s"
    on_failure: dict[str, Any] | None = Field(default=None, alias="onFailure")


class SecretBody(Body):
    """A secret as it is created or replaced."""

    name: str
    secrets: dict[str, str] = Field(default_factory=dict)
    tags: list[TagBody] | None = None


def check_name(name: str) -> None:
    """Refuse what is no name of a function."""
    if not _NAME.fullmatch(name):
        message = (
            "name should start with letter or number and may only contain letters, numbers, underscores and dashes"
        )
        raise RequestRefused(PATTERN, message)


def source_of(body: FunctionBody) -> tuple[str | None, bytes | None]:
    """Return a function's source: a text, or an archive or a Wasm binary to be kept as an artifact.

    Raises:
        BadRequest: there is none, or it is no base64.
    """
    if body.code:
        return body.code, None
    if not body.source:
        raise BadRequest("either source or sourceURL must be specified")
    try:
        source = base64.b64decode(body.source, validate=True)
        return (None, source) if source.startswith(_BINARY) else (source.decode(), None)
    except (binascii.Error, UnicodeDecodeError) as error:
        raise BadRequest(
            "source must be the base64 of an archive (tar in gzip), a Wasm binary or a text in UTF-8"
        ) from error


def spec_of(model: type[S], document: Document) -> S:
    """Read a spec; members that are None are absent. Raises RequestRefused for one that is against its model."""
    try:
        return model.model_validate({k: v for k, v in document.items() if v is not None}, by_name=False)
    except ValidationError as error:
        raise of_model(error) from error


def stored_source(url: str) -> str:
    """Return the artifact that a `sourceURL` names: es:// and the sha256 of an archive that was uploaded before.

    Raises:
        BadRequest: it is another URL.
    """
    found = _STORED.fullmatch(url)
    if not found:
        raise BadRequest(
            f"Received non-supported source url {url}: must be es:// and the sha256 of an archive that was uploaded "
            "before; upload others as source"
        )
    return f"sha256:{found[1]}"


def function_spec(body: FunctionBody, text: str | None, artifact: str | None) -> FunctionSpec:
    """Make the spec that a body asks for.

    Raises:
        BadRequest: a schema is none.
    """
    for name in ("in", "out"):
        schema = getattr(body.schema_, "in_" if name == "in" else name) if body.schema_ else None
        if schema is not None:
            try:
                check_schema(schema)
            except SchemaError as error:
                raise BadRequest(f"could not decode schema.{name}: {error}") from error
    document: Document = {
        "image": body.image,
        "handler": f"{_TEXT_FILE_MODULE}.{body.main}" if body.code else body.handler,
        "source": {"text": text} if artifact is None else {"artifact": artifact},
        "secrets": body.secrets,
        "services": body.services,
        "timeout": body.timeout,
        "concurrency": body.concurrency,
        "schedules": body.schedules,
        "onFailure": body.on_failure,
        "tags": tags_document(body.tags),
    }
    spec = spec_of(FunctionSpec, document)
    spec.function_schema = FunctionSchema(in_=body.schema_.in_, out=body.schema_.out) if body.schema_ else None
    return spec


def run_spec(function: str, body: RunBody) -> Document:
    """Make the spec, as a document, of the run that a body asks for."""
    document: Document = {
        "functionName": function,
        "blocking": body.blocking,
        "input": body.input,
        "secrets": body.secrets,
        "services": body.services,
        "httpContext": body.http_context or None,
        "event": body.event,
        "tags": tags_document(body.tags),
        "retries": body.retries,
        "backoff": body.backoff,
        "onFailure": body.on_failure,
    }
    return document


def tags_document(tags: list[TagBody] | None) -> list[Document] | None:
    """Make the tags of a spec, as a document."""
    return [tag.model_dump() for tag in tags] if tags else None


def tags_json(tags: list[Tag] | None) -> list[Document] | None:
    """Write tags."""
    return [tag.model_dump() for tag in tags] if tags else None


def function_json(function: Function) -> Document:
    """Write a function; `source` never leaves."""
    spec, status, schema = function.spec, function.status, function.spec.function_schema
    document: Document = {
        "kind": "Function",
        "id": function.uid,
        "name": function.name,
        "faasId": status.faas_id,
        "image": spec.image,
        "handler": spec.handler or None,
        "timeout": spec.timeout or None,
        "concurrency": spec.concurrency,
        "createdTime": seconds_of(function.metadata.creation_timestamp),
        "schedules": [to_document(each) for each in spec.schedules] if spec.schedules else None,
        "onFailure": to_document(spec.on_failure) if spec.on_failure else None,
    }
    return {key: value for key, value in document.items() if value is not None} | {
        "schema": {"in": schema.in_ if schema else None, "out": schema.out if schema else None},
        "secrets": spec.secrets,
        "services": spec.services,
        "tags": tags_json(spec.tags),
        "reason": status.reason,
        "status": DELETING if function.metadata.deletion_timestamp else status.state or INITIALIZED,
    }


def run_json(run: Run) -> Document:
    """Write a run."""
    spec, status = run.spec, run.status
    finished = status.finished_time is not None
    document: Document = {
        "name": run.name,
        "functionName": spec.function_name,
        "functionId": status.function_id,
        "faasId": status.faas_id,
        "blocking": spec.blocking or None,
        "input": spec.input,
        "output": status.output,
        "httpContext": spec.http_context,
        "event": spec.event,
        "error": _error_json(status.error),
        "attempts": status.attempts or None,
        "traceparent": status.traceparent,
        "onFailure": to_document(spec.on_failure) if spec.on_failure else None,
        "deadLetter": to_document(status.dead_letter) if status.dead_letter else None,
        "deadLetterOf": spec.dead_letter_of,
    }
    written = {key: value for key, value in document.items() if value is not None} | {
        "secrets": status.secrets or spec.secrets,
        "services": status.services or spec.services,
        "tags": [tag.model_dump() for tag in spec.tags or ()],
        "reason": status.reason,
        "status": status.state or INITIALIZED,
        "executedTime": seconds_of(run.metadata.creation_timestamp),
        "finishedTime": seconds_of(status.finished_time) if finished else NO_TIME,
    }
    if finished or status.logs:
        logs = status.logs
        written["logs"] = {"stdout": logs.stdout if logs else None, "stderr": logs.stderr if logs else None}
    return written


def _error_json(error: Any) -> Document | None:
    if error is None:
        return None
    return {"type": error.type, "message": error.message, "stacktrace": error.stacktrace or []}


def secret_json(secret: Secret, *, values: bool) -> Document:
    """Write a secret, with its values only where they were asked for."""
    plain = {
        key: base64.b64decode(value).decode(errors="replace") if values else HIDDEN
        for key, value in (secret.data or {}).items()
    }
    return {"kind": "Secret", "id": secret.uid, "name": secret.name, "secrets": plain, "tags": None}


def reason_of(reason: Sequence[str] | None, conditions: Conditions) -> list[str] | None:
    """Return why something is not as it should be, with what its conditions say of the function that it calls."""
    refs = condition_of(conditions, RESOLVED_REFS)
    missing = [refs.message] if refs is not None and refs.status == "False" else []
    return [*(reason or ()), *missing] or None


@lru_cache(_TIMES_REMEMBERED)
def seconds_of(time: str | None) -> int:
    """Write a time as Dispatch does: seconds since 1970, `NO_TIME` for one that has not come."""
    return round(from_rfc3339(time).timestamp()) if time else NO_TIME


def modified_seconds(run: Run) -> int:
    """Return when a run changed last, for `since`."""
    return seconds_of(run.status.finished_time or run.metadata.creation_timestamp)
