"""Typed runs of functions, with injected secrets and services: the functions part of Dispatch, as a library.

It needs no server:

>>> import asyncio
>>> from skerry.functions import FunctionExecution, NoopDriver, Runner, Schemas, secret_injector
>>> async def read_secret(name, cookie):
...     return {"greeting": {"word": "Hail"}}[name]
>>> runner = Runner(NoopDriver(), secret_injector=secret_injector(read_secret))
>>> execution = FunctionExecution(
...     schemas=Schemas(schema_in={"type": "object", "required": ["name"]}), secrets=("greeting",)
... )
>>> asyncio.run(runner.run(execution, {"name": "Jon"}))
{'context': {'secrets': {'word': 'Hail'}, 'serviceBindings': {}}, 'input': {'name': 'Jon'}}
"""

from typing import TYPE_CHECKING, Any

from skerry.functions.drivers import FaaSDriver, NoopDriver
from skerry.functions.entities import Exec, FnRun, Function, FunctionExecution, Schema, Schemas
from skerry.functions.errors import (
    FunctionError,
    InputError,
    InvocationError,
    NoDeployment,
    SchemaError,
    SystemError,  # noqa: A004 - see errors
    UserError,
)
from skerry.functions.images import ImageBuilder
from skerry.functions.injection import (
    SecretInjector,
    ServiceBinding,
    ServiceInjector,
    secret_injector,
    service_injector,
)
from skerry.functions.messages import (
    EVENT_KEY,
    HTTP_CONTEXT_KEY,
    LOGS_KEY,
    Context,
    Logs,
    Message,
    Middleware,
    Runnable,
    compose,
    logs_of,
)
from skerry.functions.runner import Runner
from skerry.functions.validation import JsonSchemaValidator, Validator, check_against, check_schema

if TYPE_CHECKING:
    from skerry.functions.containers.images import DockerImageBuilder

__all__ = [
    "EVENT_KEY",
    "HTTP_CONTEXT_KEY",
    "LOGS_KEY",
    "Context",
    "DockerImageBuilder",
    "Exec",
    "FaaSDriver",
    "FnRun",
    "Function",
    "FunctionError",
    "FunctionExecution",
    "ImageBuilder",
    "InputError",
    "InvocationError",
    "JsonSchemaValidator",
    "Logs",
    "Message",
    "Middleware",
    "NoDeployment",
    "NoopDriver",
    "Runnable",
    "Runner",
    "Schema",
    "SchemaError",
    "Schemas",
    "SecretInjector",
    "ServiceBinding",
    "ServiceInjector",
    "SystemError",
    "UserError",
    "Validator",
    "check_against",
    "check_schema",
    "compose",
    "logs_of",
    "secret_injector",
    "service_injector",
]


def __getattr__(name: str) -> Any:
    """Import the builder of container images where it is asked for: the client of engines takes a tenth of a second."""
    if name == "DockerImageBuilder":
        from skerry.functions.containers.images import DockerImageBuilder

        return DockerImageBuilder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
