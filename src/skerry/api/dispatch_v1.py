"""dispatch.skerry.dev/v1: the functions of VMware Dispatch and their runs, as kinds.

An organization of Dispatch is a namespace. Names of fields are those of Dispatch's JSON where it has them; what its
server fills in is in `status`. Source: Dispatch's swagger, the era with `source` and `handler`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import AfterValidator, Field, WithJsonSchema

from skerry.api.claims import Claim
from skerry.api.dispatch_failures import DeadLetter, FailureTarget, validate_failure_target
from skerry.api.dispatch_traces import TraceContext, validate_trace
from skerry.api.durations import parse_seconds
from skerry.api.fields import FieldError, forbidden, invalid, required, too_long, too_many
from skerry.api.function_schedules import Schedule, ScheduleStatuses, validate_schedules
from skerry.api.kinds import Column, Kind, value_at
from skerry.api.model import LIST_ATOMIC, Conditions, FreeForm, Int64, Model, Resource, Time, list_map, set_fields
from skerry.kit.ids import is_uuid

GROUP = "dispatch.skerry.dev"
VERSION = "v1"

#: Holds a function until its deployments are gone.
FINALIZER = f"{GROUP}/deployments"

State = Literal["INITIALIZED", "CREATING", "READY", "UPDATING", "ERROR", "DELETING"]
INITIALIZED: Final = "INITIALIZED"
CREATING: Final = "CREATING"
READY: Final = "READY"
UPDATING: Final = "UPDATING"
ERROR: Final = "ERROR"
DELETING: Final = "DELETING"

#: The condition of who calls a function, and its reason where that is not there.
RESOLVED_REFS: Final = "ResolvedRefs"
FUNCTION_NOT_FOUND: Final = "FunctionNotFound"

#: Characters of a source that is given as text; an archive is an artifact, and may be larger.
SOURCE_CHARACTERS_MAX = 256 << 10
#: Names of secrets, and of services, of one function or run.
NAMES_MAX = 100
TAGS_MAX = 100
#: Bytes of a run's input, of its output, its event and its HTTP context, each as JSON: all are kept with the run.
PAYLOAD_BYTES_MAX = 1 << 20
#: Of input, event and HTTP context together, so that a run has room for its status.
PAYLOADS_BYTES_MAX = 2 << 20
TIMEOUT_MILLISECONDS_MAX = 3_600_000
#: Runs of one function at once, on one machine.
CONCURRENCY_MAX = 64
RETRIES_MAX = 100
BACKOFF_SECONDS_MAX = 3600.0

#: Any JSON value, null too.
Json = Annotated[Any, WithJsonSchema({"x-kubernetes-preserve-unknown-fields": True})]
Names = Annotated[list[str] | None, LIST_ATOMIC]

_FUNCTION_NAME = re.compile(r"\w[\w-]*", re.ASCII)
_FUNCTION_NAME_CHARACTERS_MAX = 63
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Tag(Model):
    """A key and its value; Dispatch's clients filter by the one of key Application."""

    key: str
    """The key."""
    value: str = ""
    """The value."""


class FunctionSource(Model):
    """A function's code; exactly one of text and artifact."""

    text: str | None = None
    """The code of one file."""
    artifact: str | None = None
    """The sha256 of an uploaded archive (tar in gzip), sha256:<hex>."""


class FunctionSchema(Model):
    """What goes into a function and what comes out, as JSON Schemas."""

    in_: Annotated[FreeForm | None, Field(alias="in")] = None
    """Schema of the input: draft 4 as Swagger 2 reads it, or the draft that $schema names."""
    out: FreeForm | None = None
    """Schema of the output."""


class FunctionSchedule(Schedule):
    """Runs the function by the clock; Skerry's own addition."""

    input: Json = None
    """The payload of each run; members that are null are left out."""


class FunctionSpec(Model):
    """The desired state of a function."""

    image: str
    """The name of an Image; or, where functions run on this machine, a runtime: python3, nodejs or nodejs-node."""
    handler: str = ""
    """The entry point as the runtime spells it: module.function for python3, a file for nodejs; empty where there is
    one file."""
    source: FunctionSource
    """The code."""
    function_schema: Annotated[FunctionSchema | None, Field(alias="schema")] = None
    """Schemas of input and output."""
    secrets: Names = None
    """Names of the secrets that each run is given."""
    services: Names = None
    """Names of the service instances whose bindings each run is given."""
    timeout: Annotated[int, Field(ge=0, le=TIMEOUT_MILLISECONDS_MAX)] = 0
    """Milliseconds that one run may take; 0 for an hour, the most there is."""
    tags: Annotated[list[Tag] | None, list_map("key")] = None
    """Tags, for clients to select by."""
    schedules: Annotated[list[FunctionSchedule] | None, LIST_ATOMIC] = None
    """When it is run by the clock; Skerry's own addition."""
    on_failure: FailureTarget | None = None
    """Who is told of a run that failed for good, unless the run says so itself; Skerry's own addition."""
    concurrency: Annotated[int, Field(ge=1, le=CONCURRENCY_MAX)] = 4
    """Runs that go on at once on one machine; others wait. Skerry's own addition."""


class FunctionStatus(Model):
    """The present state of a function."""

    state: State | None = None
    """READY: it can be run. ERROR: it can't, and reason tells why."""
    reason: Annotated[list[str] | None, LIST_ATOMIC] = None
    """Why the newest state of the spec is not deployed."""
    faas_id: str | None = None
    """The deployment that serves runs, a UUID; each change makes a new one."""
    image: str | None = None
    """What that deployment was made from, as the driver names it."""
    observed_image: str | None = None
    """The image that this status was made from, as the driver names it; empty where there was none."""
    observed_generation: Int64 | None = None
    """The generation that this status was made from."""
    schedules: ScheduleStatuses = None
    """What has become of each schedule."""
    conditions: Conditions = None
    """Ready: it can be run. Latest: what runs is the spec as it is now."""


class Function(Resource):
    """A function with typed input and output."""

    spec: FunctionSpec
    """The desired state."""
    status: FunctionStatus = Field(default_factory=FunctionStatus)
    """The present state."""


def _check_backoff(text: str) -> str:
    if not 0 <= parse_seconds(text) <= BACKOFF_SECONDS_MAX:
        raise ValueError(f"must be from 0s to {BACKOFF_SECONDS_MAX:.0f}s")
    return text


Backoff = Annotated[str, AfterValidator(_check_backoff)]


class RunSpec(Model):
    """What is to be run."""

    function_name: str
    """The function."""
    blocking: bool = False
    """Whether the caller waits for the end."""
    input: Json = None
    """The payload."""
    secrets: Names = None
    """Names of secrets beside those of the function."""
    services: Names = None
    """Names of service instances beside those of the function."""
    http_context: FreeForm | None = None
    """Of the HTTP request that led to the run."""
    event: FreeForm | None = None
    """The CloudEvent that led to the run, without its data."""
    tags: Annotated[list[Tag] | None, list_map("key")] = None
    """Tags, for clients to select by."""
    retries: Annotated[int, Field(ge=0, le=RETRIES_MAX)] = 0
    """How often a run that failed, other than by its input, is tried again; Skerry's own addition."""
    backoff: Backoff = "1s"
    """How long to wait before the first retry; doubled at each. Skerry's own addition."""
    on_failure: FailureTarget | None = None
    """Who is told where it fails for good; Skerry's own addition."""
    dead_letter_of: str | None = None
    """The failed run that this one tells of; it is not told of in its turn. Skerry's own addition."""
    trace: TraceContext | None = None
    """The trace that it continues; Skerry's own addition."""
    cancelled: bool = False
    """Ends the run; Skerry's own addition. It can't be taken back."""


class RunLogs(Model):
    """What the function printed in a run, by lines."""

    stdout: Annotated[list[str] | None, LIST_ATOMIC] = None
    """Lines of standard output."""
    stderr: Annotated[list[str] | None, LIST_ATOMIC] = None
    """Lines of standard error."""


class RunError(Model):
    """Why a run failed."""

    type: str
    """InputError, FunctionError or SystemError: the caller, the function or the system is to blame."""
    message: str
    """What went wrong."""
    stacktrace: Annotated[list[str] | None, LIST_ATOMIC] = None
    """Of the function, where it raised."""


class RunStatus(Model):
    """How far a run is."""

    state: State | None = None
    """INITIALIZED waits, CREATING runs, READY has its output, ERROR failed."""
    output: Json = None
    """What the function returned."""
    logs: RunLogs | None = None
    """What it printed."""
    error: RunError | None = None
    """Why it failed."""
    reason: Annotated[list[str] | None, LIST_ATOMIC] = None
    """Why it failed, for people."""
    faas_id: str | None = None
    """The deployment that ran it."""
    function_id: str | None = None
    """The function's UUID."""
    secrets: Names = None
    """Names of all secrets that it was given."""
    services: Names = None
    """Names of all service instances whose bindings it was given."""
    traceparent: str | None = None
    """The run's own span, as W3C Trace Context writes it: a child of what it continues, or the first of a trace."""
    attempts: int = 0
    """How often it was begun; more than once after a retry, or when the process that ran it ended."""
    not_before: Time | None = None
    """When the next attempt is due."""
    claim: Claim | None = None
    """Who executes it now."""
    finished_time: Time | None = None
    """When it ended, failed or not."""
    dead_letter: DeadLetter | None = None
    """What became of telling that it failed, where someone is to be told."""


class Run(Resource):
    """One run of a function, kept with its outcome."""

    spec: RunSpec
    """What is to be run."""
    status: RunStatus = Field(default_factory=RunStatus)
    """How far it is."""


def is_finished(run: Run) -> bool:
    """Tell whether a run has come to its end."""
    return run.status.state in {READY, ERROR}


def validate_names(names: list[str] | None, path: str) -> Iterator[FieldError]:
    """Check a list of names of secrets or services."""
    if names and len(names) > NAMES_MAX:
        yield too_many(path, len(names), NAMES_MAX)
    for index, name in enumerate(names or ()):
        if not name:
            yield required(f"{path}[{index}]")


def check_payload(value: Any) -> int:
    """Refuse what can't be kept as a run's input or output; returns its size as JSON, and raises ValueError."""
    try:
        size = len(orjson.dumps(value))
    except TypeError as error:  # a number beyond 64 bits, half of a surrogate pair
        raise ValueError(f"no JSON that can be kept: {error}") from error
    if size > PAYLOAD_BYTES_MAX:
        raise ValueError(f"{size} bytes of JSON, and at most {PAYLOAD_BYTES_MAX} are kept")
    return size


def _check_payloads(spec: RunSpec) -> Iterator[FieldError]:
    together = 0
    for path, value in (("input", spec.input), ("event", spec.event), ("httpContext", spec.http_context)):
        if value is None:
            continue
        try:
            together += check_payload(value)
        except ValueError:
            yield too_long(f"spec.{path}", PAYLOAD_BYTES_MAX)
    if together > PAYLOADS_BYTES_MAX:
        yield too_long("spec", PAYLOADS_BYTES_MAX, "bytes of input, event and httpContext together")


def _validate_function(function: Function, _: Function | None) -> Iterator[FieldError]:
    spec = function.spec
    if not _FUNCTION_NAME.fullmatch(function.name) or len(function.name) > _FUNCTION_NAME_CHARACTERS_MAX:
        detail = (
            "name should start with letter or number and may only contain letters, numbers, underscores and dashes, "
            f"at most {_FUNCTION_NAME_CHARACTERS_MAX}"
        )
        yield invalid("metadata.name", function.name, detail)
    if not spec.image:
        yield required("spec.image")
    if (spec.source.text is None) == (spec.source.artifact is None):
        yield required("spec.source", "exactly one of text and artifact must be given")
    if spec.source.artifact is not None and not _DIGEST.fullmatch(spec.source.artifact):
        yield invalid("spec.source.artifact", spec.source.artifact, "must be sha256: and 64 hexadecimal digits")
    if spec.source.text is not None and len(spec.source.text) > SOURCE_CHARACTERS_MAX:
        yield too_long("spec.source.text", SOURCE_CHARACTERS_MAX, "characters")
    yield from validate_names(spec.secrets, "spec.secrets")
    yield from validate_names(spec.services, "spec.services")
    if spec.tags and len(spec.tags) > TAGS_MAX:
        yield too_many("spec.tags", len(spec.tags), TAGS_MAX)
    yield from validate_schedules(spec.schedules or (), "spec.schedules")
    yield from validate_failure_target(spec.on_failure, "spec.onFailure")


def _run_checks(spec: RunSpec) -> Sequence[tuple[str, Any, Callable[[Any, str], Iterable[FieldError]]]]:
    return (
        ("spec.secrets", spec.secrets, validate_names),
        ("spec.services", spec.services, validate_names),
        ("spec.onFailure", spec.on_failure, validate_failure_target),
        ("spec.trace", spec.trace, validate_trace),
    )


def _default_run(run: Run) -> None:
    if run.status.state is None:
        set_fields(run.status, {"state": INITIALIZED})


def _validate_run(run: Run, old: Run | None) -> Iterator[FieldError]:
    if not is_uuid(run.name):
        yield invalid("metadata.name", run.name, "must be a UUID")
    if not run.spec.function_name:
        yield required("spec.functionName")
    for field, value, check in _run_checks(run.spec):
        if value is not None:  # most are not given
            yield from check(value, field)
    yield from _check_payloads(run.spec)
    if old is not None:
        wanted, had = run.spec.model_copy(update={"cancelled": False}), old.spec.model_copy(update={"cancelled": False})
        if wanted != had:
            yield forbidden("spec", "a run never changes; it can only be cancelled, or deleted")
        if old.spec.cancelled and not run.spec.cancelled:
            yield forbidden("spec.cancelled", "it can't be taken back")


FUNCTION = Kind(
    group=GROUP,
    version=VERSION,
    model=Function,
    plural="functions",
    namespaced=True,
    short_names=("fn",),
    categories=("all",),
    name_format="path-segment",
    columns=(
        Column("Image", value_at(".spec.image"), description="The image, or the runtime."),
        Column("Handler", value_at(".spec.handler"), description="The entry point.", priority=1),
        Column("Status", value_at(".status.state"), description="READY where it can be run."),
        Column(
            "Reason",
            lambda d: "; ".join((d.get("status") or {}).get("reason") or ()),
            description="Why not.",
            priority=1,
        ),
    ),
    validate=_validate_function,
    read_by="view",
    written_by="edit",
    deletion_finalizers=(FINALIZER,),
)

RUN = Kind(
    group=GROUP,
    version=VERSION,
    model=Run,
    plural="runs",
    namespaced=True,
    categories=(),
    columns=(
        Column("Function", value_at(".spec.functionName"), description="What is run."),
        Column("Status", value_at(".status.state"), description="READY with an output, ERROR without."),
        Column("Attempts", value_at(".status.attempts"), type="integer", description="How often it was begun."),
        Column("Error", value_at(".status.error.type"), description="Who is to blame."),
        Column("Finished", value_at(".status.finishedTime"), type="date", description="When it ended."),
    ),
    default=_default_run,
    validate=_validate_run,
    selectable={
        "spec.functionName": lambda d: str((d.get("spec") or {}).get("functionName") or ""),
        "status.state": lambda d: str((d.get("status") or {}).get("state") or ""),
    },
    read_by="view",
    written_by="edit",
    verbatim=(("spec", "input"), ("status", "output")),
)
