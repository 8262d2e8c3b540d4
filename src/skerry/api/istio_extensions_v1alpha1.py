"""extensions.istio.io/v1alpha1: WasmPlugin.

Source: Istio's Extensions API, every field of its two published documents and the newer ones of its schema
(failStrategy FAIL_RELOAD, vmConfig, match, type, targetRef, targetRefs, verificationKey). Where Istio's document and
its code disagree, the document wins; docs/reference/wasmplugin.md lists each choice.

Who writes what in the status: the controller of plugins writes `code` and the conditions Fetched and Verified; who
programs gateways writes `gateways` and the conditions Accepted, Programmed and Ready.

Invariant: `status.code` is what to run as long as `status.code.source == code_source(plugin)`. Where there is no code,
or code of another source, and Fetched or Verified is False, the stand-in of `failStrategy` takes the plugin's place.
"""

import hashlib
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, Field

from skerry.api.code_urls import URL_CHARACTERS_MAX, FileUrl, OciReference, parse_code_url
from skerry.api.durations import parse_seconds
from skerry.api.fields import FieldError, duplicate, forbidden, invalid
from skerry.api.istio_attachment import (
    TARGET_REFS_MAX,
    PolicyTargetReference,
    WorkloadSelector,
    attachment_errors,
)
from skerry.api.kinds import Column, Kind, condition_status, value_at
from skerry.api.model import (
    LIST_ATOMIC,
    Conditions,
    DigestText,
    Document,
    FreeForm,
    Int32,
    Int64,
    Model,
    Port,
    Resource,
    Time,
    list_map,
    pending,
)

GROUP = "extensions.istio.io"
VERSION = "v1alpha1"

#: How often a plugin that is pulled Always is looked for again, such as `5m`; without it, only when it changes.
PULL_INTERVAL_ANNOTATION = "skerry.dev/pull-interval"
#: A registry is asked no more often; and a bound, because a wait has one.
PULL_INTERVAL_SECONDS_MIN = 10.0
PULL_INTERVAL_SECONDS_MAX = 30 * 86400.0

ENV_VARS_MAX = 256
MATCHES_MAX = 256
PORTS_MAX = 1024
#: The order of phases along the filter chain.
_PHASE_RANKS = {"AUTHN": 0, "AUTHZ": 1, "STATS": 2, "UNSPECIFIED_PHASE": 3}
#: Far above any PEM public key.
VERIFICATION_KEY_CHARACTERS_MAX = 16384
#: The prefix of what Istio itself hands to its proxies in the environment; a plugin never sees it there.
RESERVED_ENV_PREFIX = "ISTIO_META_"

Phase = Literal["UNSPECIFIED_PHASE", "AUTHN", "AUTHZ", "STATS"]
PullPolicy = Literal["UNSPECIFIED_POLICY", "IfNotPresent", "Always"]
FailStrategy = Literal["FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD"]
PluginType = Literal["UNSPECIFIED_PLUGIN_TYPE", "HTTP", "NETWORK"]
WorkloadMode = Literal["UNDEFINED", "CLIENT", "SERVER", "CLIENT_AND_SERVER"]


def _check_url(text: str) -> str:
    parse_code_url(text)
    return text


class EnvVar(Model):
    """A variable in the environment of the plugin's VM."""

    name: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^=\x00]+$")]
    """Name of the variable; starting with ISTIO_META_ is not allowed."""
    value_from: Literal["INLINE", "HOST"] = "INLINE"
    """INLINE takes `value`; HOST takes the variable of this name from the proxy's own environment, if it has one."""
    value: Annotated[str, Field(max_length=2048, pattern=r"^[^\x00]*$")] | None = None
    """The value, for INLINE only; empty where absent."""


class VmConfig(Model):
    """Configuration of the VM that the plugin runs in."""

    env: Annotated[list[EnvVar] | None, Field(max_length=ENV_VARS_MAX), list_map("name")] = None
    """Environment variables of the VM."""


class PortSelector(Model):
    """A port."""

    number: Port
    """The port's number."""


class TrafficSelector(Model):
    """Selects traffic; all given fields must match."""

    mode: WorkloadMode = "UNDEFINED"
    """CLIENT: traffic that leaves a workload, which is what a gateway's is. SERVER: traffic that arrives at one.
    UNDEFINED and CLIENT_AND_SERVER: both."""
    ports: Annotated[list[PortSelector] | None, Field(max_length=PORTS_MAX), list_map("number")] = None
    """Ports of the listener, at least one of which must be the traffic's; any port where empty."""


class WasmPluginSpec(Model):
    """A Wasm module, and where it takes part in the handling of requests."""

    selector: WorkloadSelector | None = None
    """The workloads that run the plugin: those with these labels, in the plugin's namespace, or in every namespace
    where the plugin is in the root namespace. All of them where absent."""
    target_ref: PolicyTargetReference | None = None
    """What the plugin is attached to. Use targetRefs."""
    target_refs: Annotated[list[PolicyTargetReference] | None, Field(max_length=TARGET_REFS_MAX), LIST_ATOMIC] = None
    """What the plugin is attached to; in place of selector."""
    url: Annotated[str, Field(min_length=1, max_length=URL_CHARACTERS_MAX), AfterValidator(_check_url)]
    """Where the module comes from: an OCI reference, with or without oci://, or a URL of http, https or file."""
    sha256: Annotated[str, Field(pattern=r"^$|^[a-f0-9]{64}$")] = ""
    """The sha256 that the code must have: of the module for http, https and file, of the manifest for OCI."""
    image_pull_policy: PullPolicy = "UNSPECIFIED_POLICY"
    """IfNotPresent takes what was pulled before; Always looks again whenever the plugin changes. UNSPECIFIED_POLICY
    is Always for an OCI reference with the tag latest, or with none, else IfNotPresent."""
    image_pull_secret: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """Name of a Secret of type kubernetes.io/dockerconfigjson, in the plugin's namespace."""
    verification_key: Annotated[str, Field(max_length=VERIFICATION_KEY_CHARACTERS_MAX)] | None = None
    """Public key in PEM, with which the code must be signed: an image by cosign, a file by a detached signature."""
    plugin_config: FreeForm | None = None
    """The configuration that the plugin is handed, as JSON."""
    plugin_name: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """The plugin's name in Envoy's configuration (its root id); some modules hold several plugins."""
    phase: Phase = "UNSPECIFIED_PHASE"
    """The place in the filter chain: before authentication (AUTHN), authorization (AUTHZ) or statistics (STATS), or
    right before the router (UNSPECIFIED_PHASE)."""
    priority: Int32 = 0
    """Order among the plugins of one phase: higher comes first; then by name and namespace."""
    fail_strategy: FailStrategy = "FAIL_CLOSE"
    """What happens where the plugin can't run: FAIL_CLOSE denies requests, FAIL_OPEN lets them pass, FAIL_RELOAD
    starts a fresh VM after a crash and denies otherwise."""
    vm_config: VmConfig | None = None
    """Configuration of the VM that the plugin runs in."""
    match: Annotated[list[TrafficSelector] | None, Field(max_length=MATCHES_MAX), LIST_ATOMIC] = None
    """The traffic that the plugin is for; any of these must match. All traffic where empty."""
    type: PluginType = "UNSPECIFIED_PLUGIN_TYPE"
    """HTTP (also where unspecified) for a filter of requests, NETWORK for a filter of connections."""


class WasmPluginCode(Model):
    """The code of a plugin that was fetched, checked and kept."""

    digest: DigestText
    """The sha256 of the module, as the name by which it is kept: `sha256:` and 64 hexadecimal digits."""
    size_bytes: Int64
    """Size of the module."""
    url: str
    """Where the module came from, in full; an OCI reference with the manifest's digest."""
    source: str
    """Stands for the fields of the spec that the code follows from (`code_source`)."""
    pulled_for: str
    """Stands for the state of the plugin when the code was last looked for (`pull_trigger`)."""
    resolved_at: Time
    """When the code was last looked for, and found."""


class WasmPluginGateway(Model):
    """A plugin on one Gateway of one node."""

    namespace: str
    """Namespace of the Gateway."""
    name: str
    """Name of the Gateway."""
    node: str
    """The node that runs it."""
    programmed: Literal["True", "False", "Unknown"]
    """Whether the proxy took the plugin's present configuration."""
    digest: str | None = None
    """The module that the proxy runs; absent where a stand-in takes its place."""
    message: Annotated[str, Field(max_length=4096)] | None = None
    """What the proxy says, where it refuses."""


class WasmPluginStatus(Model):
    """The present state."""

    observed_generation: Int64 | None = None
    """The metadata.generation that the status tells of."""
    conditions: Annotated[Conditions, Field(max_length=16)] = None
    """Accepted, Fetched, Verified, Programmed and Ready."""
    validation_messages: Annotated[list[FreeForm] | None, LIST_ATOMIC] = None
    """Messages of analysis, as Istio's tools write them."""
    code: WasmPluginCode | None = None
    """The code in use."""
    gateways: Annotated[list[WasmPluginGateway] | None, LIST_ATOMIC] = None
    """Where the plugin runs."""


class WasmPlugin(Resource):
    """Code for the proxy: a Wasm module of the Proxy-Wasm ABI in the filter chain of gateways."""

    spec: WasmPluginSpec
    """The desired state."""
    status: WasmPluginStatus = Field(default_factory=WasmPluginStatus)
    """The present state."""


def chain_rank(phase: str, priority: int) -> tuple[int, int]:
    """Return the place of a plugin in its chain, lowest first; those of one place run by name, then by namespace."""
    return _PHASE_RANKS[phase], -priority


def pulls_always(spec: WasmPluginSpec) -> bool:
    """Tell whether code is looked for again when the plugin changes: what the pull policy means for this URL.

    A digest or a sha256 pins the code; a file that is not pinned is read again whatever the policy says.
    """
    url = parse_code_url(spec.url)
    if spec.sha256 or (isinstance(url, OciReference) and url.digest):
        return False
    if isinstance(url, FileUrl):
        return True
    if spec.image_pull_policy != "UNSPECIFIED_POLICY":
        return spec.image_pull_policy == "Always"
    return isinstance(url, OciReference) and url.tag == "latest"


def pull_interval_seconds(plugin: WasmPlugin) -> float | None:
    """Return how often the code is looked for although nothing changed; None where only changes count."""
    text = (plugin.metadata.annotations or {}).get(PULL_INTERVAL_ANNOTATION)
    return parse_seconds(text) if text and pulls_always(plugin.spec) else None


def code_source(plugin: WasmPlugin) -> str:
    """Return what stands for the fields from which a plugin's code follows."""
    spec = plugin.spec
    return _hash_of([str(parse_code_url(spec.url)), spec.sha256, spec.image_pull_secret, spec.verification_key])


def pull_trigger(plugin: WasmPlugin) -> str:
    """Return what stands for the state at which code that is pulled Always is looked for again.

    Every change counts, of metadata too, save for what the server itself writes and for the status.
    """
    metadata = plugin.metadata
    return _hash_of([metadata.uid, metadata.generation, metadata.labels, metadata.annotations])


def _hash_of(value: Any) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def _prepare(plugin: WasmPlugin) -> None:
    plugin.status.conditions = [pending("Accepted"), pending("Fetched"), pending("Programmed"), pending("Ready")]


def _validate(plugin: WasmPlugin, _: WasmPlugin | None) -> Iterator[FieldError]:
    spec = plugin.spec
    yield from attachment_errors(spec)
    url = parse_code_url(spec.url)
    if isinstance(url, OciReference) and url.digest and spec.sha256 and spec.sha256 != url.digest:
        yield invalid("spec.sha256", spec.sha256, f"must match the digest in spec.url, {url.digest}")
    yield from _env_errors(spec.vm_config.env if spec.vm_config and spec.vm_config.env else ())
    for index, match in enumerate(spec.match or ()):
        yield from _repeated_ports(f"spec.match[{index}].ports", match)
    yield from _interval_errors(plugin)


def _env_errors(env: Any) -> Iterator[FieldError]:
    seen = set()
    for index, variable in enumerate(env):
        path = f"spec.vmConfig.env[{index}]"
        if variable.value_from == "HOST" and variable.value is not None:
            yield invalid(f"{path}.value", variable.value, "value may only be set when valueFrom is INLINE")
        if variable.name.startswith(RESERVED_ENV_PREFIX):
            yield forbidden(f"{path}.name", f"names with the prefix {RESERVED_ENV_PREFIX} are reserved")
        if variable.name in seen:
            yield duplicate(f"{path}.name", variable.name)
        seen.add(variable.name)


def _repeated_ports(path: str, match: TrafficSelector) -> Iterator[FieldError]:
    seen = set()
    for index, port in enumerate(match.ports or ()):
        if port.number in seen:
            yield duplicate(f"{path}[{index}].number", port.number)
        seen.add(port.number)


def _interval_errors(plugin: WasmPlugin) -> Iterator[FieldError]:
    text = (plugin.metadata.annotations or {}).get(PULL_INTERVAL_ANNOTATION)
    if text is None:
        return
    path = f"metadata.annotations[{PULL_INTERVAL_ANNOTATION}]"
    try:
        seconds = parse_seconds(text)
    except ValueError as error:
        yield invalid(path, text, str(error))
        return
    if not PULL_INTERVAL_SECONDS_MIN <= seconds <= PULL_INTERVAL_SECONDS_MAX:
        low, high = PULL_INTERVAL_SECONDS_MIN, PULL_INTERVAL_SECONDS_MAX
        yield invalid(path, text, f"must be between {low:.0f}s and {high:.0f}s")


def _warnings(plugin: WasmPlugin) -> Iterator[str]:
    spec = plugin.spec
    if spec.selector is not None and not spec.selector.match_labels:
        yield "spec.selector: no labels are given, so the plugin applies to every workload, as without a selector"
    if PULL_INTERVAL_ANNOTATION in (plugin.metadata.annotations or {}) and not pulls_always(spec):
        yield (
            f"metadata.annotations[{PULL_INTERVAL_ANNOTATION}]: has no effect on code that is pinned, "
            "or whose imagePullPolicy is not Always"
        )


def _gateways(document: Document) -> str | None:
    """Count where the plugin is programmed, of where it shall be: `2/3`."""
    gateways = (document.get("status") or {}).get("gateways")
    if gateways is None:
        return None
    return f"{sum(gateway.get('programmed') == 'True' for gateway in gateways)}/{len(gateways)}"


WASM_PLUGIN = Kind(
    group=GROUP,
    version=VERSION,
    model=WasmPlugin,
    plural="wasmplugins",
    namespaced=True,
    categories=("istio-io", "extensions-istio-io"),
    columns=(
        Column("Phase", value_at(".spec.phase"), description="The place in the filter chain."),
        Column("Priority", value_at(".spec.priority"), type="integer", description="Order within the phase."),
        Column("Source", value_at(".spec.url"), description="Where the code comes from."),
        Column("Ready", condition_status("Ready"), description="Whether requests meet the plugin."),
        Column("Gateways", _gateways, description="Gateways that run the plugin, of those that shall."),
        Column("Digest", value_at(".status.code.digest"), description="The code in use.", priority=1),
    ),
    validate=_validate,
    prepare_create=_prepare,
    warnings=_warnings,
    read_by="view",
    written_by="edit",
)
