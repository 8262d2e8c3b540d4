"""What applications of cloud.baetyl.io/v1alpha1 must fulfil. Pure.

Sources: the API document of Baetyl Cloud for v2.0, and what later versions of its code refuse besides.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Protocol

from skerry.api.baetyl_application_services import Resources, Service, ServicePort
from skerry.api.baetyl_application_spec import ApplicationSpec
from skerry.api.fields import FieldError, duplicate, forbidden, invalid, not_supported, required
from skerry.api.names import is_label, label_errors
from skerry.api.quantities import parse_bytes
from skerry.api.selectors import SelectorError, parse_label_selector
from skerry.kit.clock import from_rfc3339

#: So that the name of a service with a suffix is still one.
APPLICATION_NAME_CHARACTERS_MAX = 55

#: The images that run functions, by runtime, as Baetyl Cloud v2.1 ships them.
FUNCTION_RUNTIMES: Final[Mapping[str, str]] = {
    "python3": "hub.baidubce.com/baetyl/function-python:3.6-v2.0.0",
    "nodejs10": "hub.baidubce.com/baetyl/function-node:10.19-v2.0.0",
    "sql": "hub.baidubce.com/baetyl/function-sql:v2.0.0",
}
#: `cronStatus` of an application that waits for its time, and of one whose time has come.
CRON_WAITS, CRON_BEGUN = 1, 2
PROTOCOLS = ("TCP", "UDP", "SCTP")
SCALED_BY = ("cpu", "memory")
#: Types whose services are not looked at: manifests of the user's own.
_OPAQUE_TYPES = ("helm", "yaml")


class _Named(Protocol):
    """An item of a list whose items have names."""

    @property
    def name(self) -> str: ...


def spec_errors(spec: ApplicationSpec) -> Iterator[FieldError]:
    """Yield every rule that the spec of an application breaks."""
    yield from selector_text_errors("spec.selector", spec.selector)
    yield from selector_text_errors("spec.nodeSelector", spec.node_selector)
    yield from _unique("spec.volumes", spec.volumes)
    yield from _volume_errors(spec)
    yield from _scale_errors(spec)
    if spec.type == "function" and spec.registries:
        yield forbidden("spec.registries", "a function application has no images of its own")
    yield from _time_errors(spec)
    if spec.type not in _OPAQUE_TYPES:
        yield from _services_errors(spec)


def start_of(spec: ApplicationSpec) -> dt.datetime | None:
    """Return when an application is to begin; None for one that does not wait for that."""
    try:
        return from_rfc3339(spec.cron_time) if spec.cron_status == CRON_WAITS and spec.cron_time else None
    except ValueError:
        return None  # was stored before this was a rule


def _time_errors(spec: ApplicationSpec) -> Iterator[FieldError]:
    if not spec.cron_time:
        if spec.cron_status == CRON_WAITS:
            yield required("spec.cronTime", f"cronStatus is {CRON_WAITS}")
        return
    try:
        from_rfc3339(spec.cron_time)
    except ValueError:
        yield invalid("spec.cronTime", spec.cron_time, "must be a time such as 2030-01-31T12:00:00Z")


def selector_text_errors(path: str, text: str) -> Iterator[FieldError]:
    """Yield what is wrong with a label selector in Kubernetes' grammar."""
    try:
        parse_label_selector(text)
    except SelectorError as error:
        yield invalid(path, text, str(error))


def _services_errors(spec: ApplicationSpec) -> Iterator[FieldError]:
    volumes, taken = {volume.name for volume in spec.volumes or ()}, set[tuple[str, int]]()
    for part, services in (("initServices", spec.init_services or ()), ("services", spec.services or ())):
        yield from _unique(f"spec.{part}", services)
        for index, service in enumerate(services):
            path = f"spec.{part}[{index}]"
            if not is_label(service.name):
                yield invalid(f"{path}.name", service.name, "must be a lowercase RFC 1123 label")
            yield from label_errors(f"{path}.labels", service.labels or {})
            for at, mount in enumerate(service.volume_mounts or ()):
                if mount.name not in volumes:
                    yield invalid(f"{path}.volumeMounts[{at}].name", mount.name, "there is no volume of this name")
            yield from _resource_errors(f"{path}.resources", service.resources)
            yield from _code_errors(path, spec, service)
            yield from _port_errors(path, spec, service, taken)


def _code_errors(path: str, spec: ApplicationSpec, service: Service) -> Iterator[FieldError]:
    """Yield what is wrong with what a service runs."""
    functions = service.function_config
    if spec.type == "function":
        if functions is None:
            yield required(f"{path}.functionConfig", "a service of a function application needs it")
        elif functions.runtime not in FUNCTION_RUNTIMES:
            yield not_supported(f"{path}.functionConfig.runtime", functions.runtime, FUNCTION_RUNTIMES)
        return
    if functions is not None:
        yield forbidden(f"{path}.functionConfig", "only function applications have it")
    if service.functions:
        yield forbidden(f"{path}.functions", "only function applications have them")
    if spec.mode == "kube" and not service.image:
        yield required(f"{path}.image", "a service of a container application needs it")
    if spec.mode == "native" and not (service.program_config or service.command or service.image):
        yield required(f"{path}.programConfig", "a service on a native node needs a program or a command")


def _port_errors(
    path: str, spec: ApplicationSpec, service: Service, taken: set[tuple[str, int]]
) -> Iterator[FieldError]:
    """Yield what is wrong with the ports of a service; `taken` gathers those of the machine."""
    for index, port in enumerate(service.ports or ()):
        here = f"{path}.ports[{index}]"
        if port.protocol not in PROTOCOLS:
            yield not_supported(f"{here}.protocol", port.protocol, PROTOCOLS)
        if port.service_type == "NodePort" and not port.node_port:
            yield invalid(f"{here}.nodePort", port.node_port, "must be above 0 where serviceType is NodePort")
        if port.host_port:
            if (place := _place(port)) in taken:
                yield duplicate(f"{here}.hostPort", port.host_port)
            taken.add(place)
            if max(service.replica, spec.replica or 0) > 1:
                yield invalid(f"{here}.hostPort", port.host_port, "replica may not be above 1 with a hostPort")


def _place(port: ServicePort) -> tuple[str, int]:
    return port.protocol, port.host_port


def _resource_errors(path: str, resources: Resources | None) -> Iterator[FieldError]:
    for part in ("limits", "requests"):
        quantities: Mapping[str, str] = (getattr(resources, part) if resources else None) or {}
        for name, text in quantities.items():
            if problem := quantity_problem(text):
                yield invalid(f"{path}.{part}[{name}]", text, problem)


def quantity_problem(text: str) -> str:
    """Tell what is wrong with a quantity of Kubernetes, such as "500m" or "128Mi"; "" for nothing."""
    number = text.removesuffix("m")
    try:
        float(number) if number.replace(".", "", 1).isdigit() else parse_bytes(text)
    except ValueError:
        return 'must be a quantity such as "500m", "0.5", "128Mi" or "1048576"'
    return ""


def _volume_errors(spec: ApplicationSpec) -> Iterator[FieldError]:
    for index, volume in enumerate(spec.volumes or ()):
        sources = [each for each in (volume.host_path, volume.config, volume.secret, volume.empty_dir) if each]
        if len(sources) != 1:
            detail = "must have exactly one of hostPath, config, secret and emptyDir"
            yield invalid(f"spec.volumes[{index}]", volume.name, detail)


def _scale_errors(spec: ApplicationSpec) -> Iterator[FieldError]:
    scale = spec.auto_scale_cfg
    if scale is None:
        return
    if scale.min_replicas <= 0:
        yield invalid("spec.autoScaleCfg.minReplicas", scale.min_replicas, "must be above 0")
    if scale.max_replicas < scale.min_replicas:
        yield invalid("spec.autoScaleCfg.maxReplicas", scale.max_replicas, "must not be below minReplicas")
    for index, metric in enumerate(scale.metrics or ()):
        if metric.resource and metric.resource.name not in SCALED_BY:
            path = f"spec.autoScaleCfg.metrics[{index}].resource.name"
            yield not_supported(path, metric.resource.name, SCALED_BY)


def _unique(path: str, items: Iterable[_Named] | None) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, item in enumerate(items or ()):
        if item.name in seen:
            yield duplicate(f"{path}[{index}].name", item.name)
        seen.add(item.name)
