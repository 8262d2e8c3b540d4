"""The template of an edge function, which a revision is one state of: its code, and how it is run.

Part of extensions.apoxy.dev/v1alpha2. Owns the template's fields, their defaults and their rules. Does not own those of
its parts: code (`apoxy_function_code`), limits and schedules.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from skerry.api.apoxy_function_code import EdgeFunctionCodeSource, default_code
from skerry.api.apoxy_function_code_rules import validate_code
from skerry.api.durations import parse_seconds
from skerry.api.fields import FieldError, duplicate, forbidden, invalid, not_supported, required, too_long, too_many
from skerry.api.function_limits import EdgeFunctionLimits, FunctionLimits, limits_of, validate_limits
from skerry.api.function_schedules import Schedules, validate_schedules
from skerry.api.model import Model, Port, list_map
from skerry.api.names import LABEL_CHARACTERS_MAX, is_label

BACKEND = "backend"
FILTER = "filter"
MODES = (BACKEND, FILTER)
TIMEOUT_SECONDS_DEFAULT = 30.0
#: Longer than any client waits; a bound, so that no instance is held for ever.
TIMEOUT_SECONDS_MAX = 3600.0
ENV_VARS_MAX = 1000
#: Names and values together, UTF-8. Cloudflare takes 128 variables of 5 kB.
ENV_BYTES_MAX = 1024 * 1024


def _check_timeout(text: str) -> str:
    if not 0 < parse_seconds(text) <= TIMEOUT_SECONDS_MAX:
        raise ValueError(f"must be greater than 0s and at most {TIMEOUT_SECONDS_MAX:.0f}s")
    return text


class EnvVar(Model):
    """One environment variable."""

    name: str
    """Name of the variable."""
    value: str
    """Value of the variable."""


class RuntimeCapabilities(Model):
    """What a function may use."""

    fetch_api: bool | None = Field(default=None, alias="fetchAPI")
    """Whether the function may fetch from the internet. Defaults to true."""
    kv: bool | None = None
    """Whether the function may use the key/value store. Defaults to true."""


class EdgeFunctionRuntime(Model):
    """How a function is run."""

    capabilities: RuntimeCapabilities | None = None
    """What the function may use."""
    port: Port | None = None
    """Port that the function listens on; only in mode backend. Defaults to 8080."""
    failure_mode: Literal["open", "closed"] | None = None
    """What becomes of a request whose filter fails: open lets it go on, closed answers with an error. Defaults to
    closed. Only in mode filter; Skerry's own addition."""
    timeout: Annotated[str, AfterValidator(_check_timeout)] | None = None
    """Longest time that one request may take, such as 30s or 1m30s. Defaults to 30s; at most 1h."""
    isolation: Literal["request", "instance"] | None = None
    """Skerry's own: request gives each request a fresh instance, instance reuses instances. Defaults to instance."""
    limits: EdgeFunctionLimits | None = None
    """Skerry's own: how much the function may use."""
    kv_namespace: str | None = None
    """Name of a key/value namespace that all functions share that name it; Skerry's own addition."""


class EdgeFunctionRevisionSpec(Model):
    """A function's code and how it is run."""

    mode: str | None = None
    """backend (the function answers) or filter (it sees requests on their way to a backend)."""
    code: EdgeFunctionCodeSource
    """Where the code comes from."""
    env: Annotated[list[EnvVar] | None, list_map("name")] = None
    """Environment variables of the function."""
    runtime: EdgeFunctionRuntime | None = None
    """How the function is run."""
    schedules: Schedules = None
    """When the function's scheduled handler runs by the clock; Skerry's own addition."""

    @property
    def timeout_seconds(self) -> float:
        """How long one request may take."""
        timeout = self.runtime.timeout if self.runtime else None
        return parse_seconds(timeout) if timeout else TIMEOUT_SECONDS_DEFAULT

    @property
    def isolation(self) -> Literal["request", "instance"]:
        """Whether each request has an instance of its own."""
        return (self.runtime and self.runtime.isolation) or "instance"

    @property
    def limits(self) -> FunctionLimits:
        """How much the function may use."""
        return limits_of(self.runtime.limits if self.runtime else None)

    @property
    def fails_open(self) -> bool:
        """Whether requests go on where this function, as a filter, fails."""
        return self.runtime is not None and self.runtime.failure_mode == "open"

    @property
    def may_fetch(self) -> bool:
        """Whether the function has the capability fetchAPI."""
        capabilities = self.runtime.capabilities if self.runtime else None
        return capabilities is None or capabilities.fetch_api is not False

    @property
    def has_kv(self) -> bool:
        """Whether the function has the capability kv."""
        capabilities = self.runtime.capabilities if self.runtime else None
        return capabilities is None or capabilities.kv is not False

    @property
    def shared_kv(self) -> str:
        """The key/value namespace that the function shares with others; "" where it has one of its own."""
        return (self.runtime.kv_namespace if self.runtime else None) or ""


def default_template(template: EdgeFunctionRevisionSpec) -> None:
    """Complete a template in place: mode and code.

    The port's default is not written down, as Apoxy does: a later change of the mode would have to take it away.
    """
    if not template.mode:
        template.mode = FILTER if template.code.go_plugin_source else BACKEND
    template.mode = template.mode.lower()
    default_code(template.code)


def validate_template(template: EdgeFunctionRevisionSpec, path: str) -> Iterator[FieldError]:
    """Tell everything that is wrong with a template."""
    if template.mode not in MODES:
        yield not_supported(f"{path}.mode", template.mode, MODES)
    if template.mode == FILTER and template.runtime and template.runtime.port is not None:
        yield forbidden(f"{path}.runtime.port", "a function in mode filter listens on no port")
    yield from validate_limits(template.runtime.limits if template.runtime else None, f"{path}.runtime.limits")
    if template.runtime and template.runtime.kv_namespace is not None:
        if not is_label(template.runtime.kv_namespace):
            detail = f"must be a DNS label of up to {LABEL_CHARACTERS_MAX} lower-case letters, digits and '-'"
            yield invalid(f"{path}.runtime.kvNamespace", template.runtime.kv_namespace, detail)
        if not template.has_kv:
            yield forbidden(f"{path}.runtime.kvNamespace", "the function is not granted the capability kv")
    yield from validate_schedules(template.schedules or (), f"{path}.schedules")
    if template.schedules and (template.mode == FILTER or not template.code.js_source):
        yield forbidden(f"{path}.schedules", "only a function with jsSource in mode backend has a scheduled handler")
    if template.mode == BACKEND and template.runtime and template.runtime.failure_mode is not None:
        yield forbidden(f"{path}.runtime.failureMode", "only a function in mode filter lets requests go on")
    yield from _validate_env(template.env or [], f"{path}.env")
    yield from validate_code(template.code, f"{path}.code")
    if template.code.go_plugin_source and template.mode == BACKEND:
        yield forbidden(f"{path}.code.goPluginSource", "a Go plugin runs in mode filter only")


def _validate_env(env: list[EnvVar], path: str) -> Iterator[FieldError]:
    if len(env) > ENV_VARS_MAX:
        yield too_many(path, len(env), ENV_VARS_MAX)
    if sum(len(f"{variable.name}{variable.value}".encode()) for variable in env) > ENV_BYTES_MAX:
        yield too_long(path, ENV_BYTES_MAX)
    seen = set()
    for index, variable in enumerate(env):
        at = f"{path}[{index}].name"
        if not variable.name:
            yield required(at)
        elif "=" in variable.name or "\0" in variable.name:
            yield invalid(at, variable.name, "may not contain '=' or NUL")
        elif variable.name in seen:
            yield duplicate(at, variable.name)
        seen.add(variable.name)
        if "\0" in variable.value:
            yield invalid(f"{path}[{index}].value", variable.value, "may not contain NUL")
