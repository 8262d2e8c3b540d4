"""extensions.apoxy.dev/v1alpha2: EdgeFunction and EdgeFunctionRevision.

Source: Apoxy's Extensions API reference. Where Apoxy's own server differs from its document or lets bad input
through, the document and the user win; docs/reference/edge-function.md lists each choice.
"""

import hashlib
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field

from skerry.api.apoxy_function_code import EdgeFunctionCodeSource, keep_password
from skerry.api.apoxy_function_code_rules import validate_config_object
from skerry.api.fields import FieldError, forbidden, invalid
from skerry.api.function_schedules import ScheduleStatuses
from skerry.api.function_template import FILTER, EdgeFunctionRevisionSpec, default_template, validate_template
from skerry.api.function_traffic import (
    WHOLE_PERCENT,
    SpecTraffic,
    StatusTraffic,
    TrafficTarget,
    validate_traffic,
)
from skerry.api.kinds import Column, Kind, condition_status, value_at
from skerry.api.model import (
    Conditions,
    DigestText,
    Document,
    Int64,
    Model,
    Resource,
    to_document,
)
from skerry.api.names import LABEL_CHARACTERS_MAX, SUBDOMAIN_CHARACTERS_MAX

GROUP = "extensions.apoxy.dev"
VERSION = "v1alpha2"

#: Which function a revision belongs to, as Apoxy labels it.
FUNCTION_LABEL = "extensions.apoxy.dev/edgefunction"

REVISION_HISTORY_LIMIT_DEFAULT = 10
REVISION_HISTORY_LIMIT_MAX = 1000
#: The function's name is the value of a label of its revisions.
FUNCTION_NAME_CHARACTERS_MAX = LABEL_CHARACTERS_MAX


class EdgeFunctionSpec(Model):
    """The desired state of a function."""

    template: EdgeFunctionRevisionSpec
    """The function as it shall be; each change makes a new revision."""
    dynamic_plugin_config: str | None = None
    """Configuration sent to a Go plugin with each route, a JSON or YAML object; a change makes no new revision."""
    revision_history_limit: Annotated[int, Field(ge=0, le=REVISION_HISTORY_LIMIT_MAX)] = REVISION_HISTORY_LIMIT_DEFAULT
    """How many revisions to keep, the live one among them. Defaults to 10."""
    traffic: SpecTraffic = None
    """How requests are shared among revisions; Skerry's own addition. Defaults to all of them for the latest."""


class EdgeFunctionStatus(Model):
    """The present state of a function."""

    live_revision: str | None = None
    """Name of the revision that serves, with spec.traffic most requests; it moves only to a revision that is ready."""
    latest_ready_revision: str | None = None
    """Name of the newest revision that is ready, which `latest` in spec.traffic stands for; Skerry's own addition."""
    previous_revision: str | None = None
    """Name of the revision that was live before; Skerry's own addition."""
    schedules: ScheduleStatuses = None
    """What has become of the live revision's schedules; Skerry's own addition."""
    traffic: StatusTraffic = None
    """How requests are shared, and the addresses of tags, as decided; Skerry's own addition."""
    serving_revision: str | None = None
    """Name of the revision that the gateways route to by now; Skerry's own addition."""
    observed_generation: Int64 | None = None
    """The generation that this status was made from."""
    conditions: Conditions = None
    """Ready: requests are answered. Latest: the template's revision is ready. Traffic: spec.traffic is in force."""

    @property
    def targets(self) -> list[TrafficTarget]:
        """Who gets requests; a status that was written before there was traffic has a live revision alone."""
        if self.traffic is None and self.live_revision:
            return [TrafficTarget(revision=self.live_revision, latest=True, percent=WHOLE_PERCENT)]
        return self.traffic or []


class EdgeFunction(Resource):
    """A function that runs at the edge, behind the gateway."""

    spec: EdgeFunctionSpec
    """The desired state."""
    status: EdgeFunctionStatus = Field(default_factory=EdgeFunctionStatus)
    """The present state."""


#: What of Envoy runs a filter itself.
EnvoyLoader = Literal["DynamicModule", "GoFilter", "ProxyWasm"]


class Artifact(Model):
    """The built code of a revision, as nodes fetch it."""

    digest: DigestText
    """The sha256 that names the bytes, sha256:<hex>."""
    size_bytes: Int64
    """Number of bytes."""
    loader: EnvoyLoader | None = None
    """What of Envoy runs the code: DynamicModule, GoFilter or ProxyWasm; absent for what Skerry's engine runs."""


class ResolvedSource(Model):
    """What a source stood for when a revision was built; it is built again from the very same."""

    commit: str | None = None
    """The git commit."""
    version: str | None = None
    """The version of the npm package."""
    lock: DigestText | None = None
    """The sha256 that names the package-lock.json which the dependencies were installed by, sha256:<hex>."""


class EdgeFunctionRevisionStatus(Model):
    """The present state of a revision."""

    ref: str | None = None
    """The revision's name, once its code is stored."""
    artifact: Artifact | None = None
    """The built code."""
    source: ResolvedSource | None = None
    """What the source stood for when the code was built; Skerry's own addition."""
    toolchain: str | None = None
    """What built the code last, or failed to; another tries what failed again. Skerry's own addition."""
    conditions: Conditions = None
    """Ready: the code is built, checked and stored."""


class EdgeFunctionRevision(Resource):
    """A function at one state of its template; its spec never changes."""

    spec: EdgeFunctionRevisionSpec
    """The function's template at the time."""
    status: EdgeFunctionRevisionStatus = Field(default_factory=EdgeFunctionRevisionStatus)
    """The present state."""


def plugin_name(code: EdgeFunctionCodeSource, function: str) -> str:
    """Return how a plugin is called: by the code's metadata, else as its function is."""
    return (code.metadata.name if code.metadata else "") or function


def revision_name(function: EdgeFunction) -> str:
    """Name the revision of a function's present template: `<function>-<hash>`.

    The hash covers the template alone, so that re-applying an older template finds its older revision (a rollback).
    Its form is Apoxy's (decimal digits in Kubernetes' safe alphabet), its input is ours: canonical JSON.
    """
    canonical = orjson.dumps(to_document(function.spec.template), option=orjson.OPT_SORT_KEYS)
    number = int.from_bytes(hashlib.sha256(canonical).digest()[:4], "big")
    return f"{function.name}-{str(number).translate(_SAFE_DIGITS)}"


_SAFE_DIGITS = str.maketrans("0123456789", "456789bcdf")


def _default_function(function: EdgeFunction) -> None:
    default_template(function.spec.template)


def _validate_function(function: EdgeFunction, _: EdgeFunction | None) -> Iterator[FieldError]:
    if FUNCTION_NAME_CHARACTERS_MAX < len(function.name) <= SUBDOMAIN_CHARACTERS_MAX:  # longer is no name at all
        detail = f"must be no more than {FUNCTION_NAME_CHARACTERS_MAX} characters"
        yield invalid("metadata.name", function.name, detail)
    yield from validate_template(function.spec.template, "spec.template")
    yield from validate_config_object(function.spec.dynamic_plugin_config, "spec.dynamicPluginConfig")
    whole = function.spec.template.mode == FILTER
    yield from validate_traffic(function.spec.traffic or (), function.name, "spec.traffic", whole=whole)


def _default_revision(revision: EdgeFunctionRevision) -> None:
    default_template(revision.spec)


def _validate_revision(revision: EdgeFunctionRevision, old: EdgeFunctionRevision | None) -> Iterator[FieldError]:
    if old is not None and revision.spec != old.spec:
        yield forbidden("spec", "a revision never changes; change the EdgeFunction's template, which makes a new one")
    yield from validate_template(revision.spec, "spec")


def _source_type(code_path: str) -> Any:
    read = value_at(code_path)

    def source_type(document: Document) -> str:
        code = read(document) or {}
        names = {"jsSource": "JavaScript", "wasmSource": "WebAssembly", "goPluginSource": "Go Plugin"}
        return next((name for field, name in names.items() if code.get(field)), "Unknown")

    return source_type


def _shares(document: Document) -> list[str]:
    targets = document.get("status", {}).get("traffic") or []
    return [f"{target['revision']}={target['percent']}%" for target in targets if target.get("percent")]


EDGE_FUNCTION = Kind(
    group=GROUP,
    version=VERSION,
    model=EdgeFunction,
    plural="edgefunctions",
    namespaced=False,
    short_names=("ef",),
    categories=("all",),
    columns=(
        Column("Mode", value_at(".spec.template.mode"), description="backend or filter."),
        Column("Source Type", _source_type(".spec.template.code"), description="What the code is."),
        Column("Live Revision", value_at(".status.liveRevision"), description="The revision that serves."),
        Column("Ready", condition_status("Ready"), description="Whether requests are answered."),
        Column("Traffic", _shares, description="How requests are shared among revisions.", priority=1),
    ),
    default=_default_function,
    keep_withheld=lambda new, old: keep_password(new.spec.template.code, old.spec.template.code),
    validate=_validate_function,
    subresources=("log",),
    read_by="view",
    written_by="edit",
)

EDGE_FUNCTION_REVISION = Kind(
    group=GROUP,
    version=VERSION,
    model=EdgeFunctionRevision,
    plural="edgefunctionrevisions",
    namespaced=False,
    short_names=("efr",),
    columns=(
        Column(
            "Function",
            lambda d: d.get("metadata", {}).get("labels", {}).get(FUNCTION_LABEL),
            description="The function that this is a revision of.",
        ),
        Column("Source Type", _source_type(".spec.code"), description="What the code is."),
        Column("Ready", condition_status("Ready"), description="Whether the code is built, checked and stored."),
        Column("Artifact", value_at(".status.artifact.digest"), description="The built code.", priority=1),
    ),
    default=_default_revision,
    keep_withheld=lambda new, old: keep_password(new.spec.code, old.spec.code),
    validate=_validate_revision,
    read_by="view",
)
