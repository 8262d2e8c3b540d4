"""Functions and their runs, as the library's user and its drivers speak of them.

Source: Dispatch's Function, FnRun, Exec, Schema, Schemas and FunctionExecution.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from skerry.functions.errors import InvocationError
from skerry.functions.messages import Context, Logs


@dataclass(frozen=True)
class Schema:
    """The JSON Schemas of a function's input and output; None allows anything."""

    in_: Mapping[str, Any] | None = None
    out: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Schemas:
    """The schemas that one run is checked against; None allows anything."""

    schema_in: Mapping[str, Any] | None = None
    schema_out: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Exec:
    """What a driver needs to bring a function into being.

    Attributes:
        source: the code: one text, or an archive (tar, gzip) of a folder.
        handler: the entry point, as the runtime spells it; "" for the one function of a one-file source.
        image: name of the runtime, python3 for example, or of a container image where the driver runs containers.
        name: the function's name.
        concurrency: runs at once, where the driver bounds them; 0 for as many as it does by itself.
    """

    source: bytes
    handler: str = ""
    image: str = ""
    name: str = ""
    concurrency: int = 0


@dataclass(frozen=True)
class Function:
    """A function as it is registered.

    Attributes:
        name: unique in its organization.
        id: its UUID.
        faas_id: the UUID of its present deployment: a new one with each update.
        image: name of the runtime or image.
        handler: the entry point.
        schema: of its input and output.
        secrets: names of the secrets that each run is given.
        services: names of the service instances whose bindings each run is given.
        timeout_seconds: how long one run may take from when its function begins; 0 for as long as the system allows.
    """

    name: str
    id: str = ""
    faas_id: str = ""
    image: str = ""
    handler: str = ""
    schema: Schema = Schema()
    secrets: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    timeout_seconds: float = 0.0


@dataclass
class FunctionExecution:
    """One execution of a function, as a Runner takes it.

    Attributes:
        context: what the function is told beside its payload; middleware adds to it, and what the function printed is
            in it afterwards (`logs_of`).
        run_id: the run's UUID.
        function_id: the function's UUID.
        faas_id: the deployment that is to run it.
        schemas: what input and output are checked against.
        secrets: names of the secrets to inject; of one key in two of them the later one's value counts.
        services: names of the service instances whose bindings are injected.
        cookie: the caller's credential, handed to the injectors as it came.
        timeout_seconds: how long the function may take from when it begins; 0 for as long as the driver allows. A wait
            for its turn or for an instance to start is no part of that.
    """

    context: Context = field(default_factory=dict)
    run_id: str = ""
    function_id: str = ""
    faas_id: str = ""
    schemas: Schemas = Schemas()
    secrets: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    cookie: str = ""
    timeout_seconds: float = 0.0


@dataclass
class FnRun:
    """A run of a function, from its request to its end.

    Attributes:
        name: the run's UUID.
        function_name: the function's name.
        function_id: its UUID.
        faas_id: the deployment that ran it.
        blocking: whether the caller waits for the end.
        input: any JSON.
        output: any JSON; None where it failed.
        secrets: names of secrets beside those of the function.
        services: names of service instances beside those of the function.
        http_context: of the HTTP request that led to the run.
        event: the CloudEvent that led to the run, without its data.
        logs: what the function printed.
        error: why it failed.
        finished_time: when it ended, failed or not; None before.
    """

    name: str
    function_name: str
    function_id: str = ""
    faas_id: str = ""
    blocking: bool = False
    input: Any = None
    output: Any = None
    secrets: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    http_context: Mapping[str, Any] | None = None
    event: Mapping[str, Any] | None = None
    logs: Logs = field(default_factory=Logs)
    error: InvocationError | None = None
    finished_time: datetime | None = None
