"""Applications as nodes get them and as people see them: with all that follows from what users wrote. Pure.

A function application says which functions it has, not how they run: image, port, configuration and the folder of the
code follow from it. None of that is stored, so it can't differ from what it follows from, whoever wrote the
application; the configuration that is made of it has the application's version.
"""

import hashlib
from collections.abc import Iterator, Mapping

import orjson

from skerry.api.baetyl_application_rules import CRON_WAITS, FUNCTION_RUNTIMES
from skerry.api.baetyl_application_services import ObjectVersion, Service, ServicePort, Volume, VolumeMount
from skerry.api.baetyl_application_spec import ApplicationSpec
from skerry.api.baetyl_applications import Application
from skerry.api.model import Document, to_document
from skerry.api.selectors import EVERYTHING, SelectorError, parse_label_selector
from skerry.fleet.index import Facts, Source

#: Volumes of functions and programs, each followed by a service's name or a configuration's.
FUNCTION_CONFIG = "baetyl-function-config"
FUNCTION_CODE = "baetyl-function-code"
PROGRAM_CONFIG = "baetyl-program-config"
FUNCTION_CONFIG_PATH = "/etc/baetyl"
FUNCTION_CODE_PATH = "/var/lib/baetyl/code"
PROGRAM_PATH = "/var/lib/baetyl/bin"
_FUNCTION_PORT = 80
#: So many characters end the name of a generated configuration.
_SUFFIX_CHARACTERS = 9


def facts_of(application: Application) -> Facts:
    """Return what binding needs to know of a stored application."""
    spec = application.spec
    revision = int(application.metadata.resource_version or 0)
    try:
        selector = parse_label_selector(spec.selector) if spec.cron_status != CRON_WAITS else EVERYTHING
    except SelectorError:  # stored before its grammar was what it is: it hurts itself alone
        selector = EVERYTHING  # which, as one that is empty, binds to nothing
    return Facts(selector, spec.system, revision, frozenset(_sources(application)))


def _sources(application: Application) -> Iterator[Source]:
    """Yield all that an application mounts, but what is made of the application itself."""
    place, generated = application.namespace, generated_configurations(application)
    for volume in completed(application).spec.volumes or ():
        if volume.config and volume.config.name not in generated:
            yield Source("configuration", place, volume.config.name)
        if volume.secret:
            yield Source("secret", place, volume.secret.name)
    for registry in application.spec.registries or ():
        yield Source("secret", place, registry.name)


def completed(application: Application) -> Application:
    """Return an application with all that follows from it; one that says everything is returned as it is."""
    services = application.spec.services or []
    if not any(service.function_config or service.program_config for service in services):
        return application
    whole = application.model_copy(deep=True)
    spec = whole.spec
    volumes = {volume.name: volume for volume in spec.volumes or ()}
    for service in spec.services or ():
        for mount, config in _mounts(whole, service):
            volumes.setdefault(mount.name, Volume(name=mount.name, config=ObjectVersion(name=config)))
            service.volume_mounts = [*(service.volume_mounts or ()), mount]
        if service.function_config:
            service.image = FUNCTION_RUNTIMES.get(service.function_config.runtime, "")
            service.ports = [ServicePort(container_port=_FUNCTION_PORT)]
    spec.volumes = list(volumes.values())
    return whole


def _mounts(application: Application, service: Service) -> Iterator[tuple[VolumeMount, str]]:
    """Yield what is mounted into a service because of what it is, each with the configuration that it is of."""
    taken = {mount.mount_path for mount in service.volume_mounts or ()}
    if functions := service.function_config:
        name = f"{FUNCTION_CONFIG}-{service.name}"
        yield _fixed(name, FUNCTION_CONFIG_PATH), _generated_name(application, service)
        if functions.name and FUNCTION_CODE_PATH not in taken:
            yield _fixed(f"{FUNCTION_CODE}-{functions.name}", FUNCTION_CODE_PATH), functions.name
    if service.program_config and PROGRAM_PATH not in taken:
        yield _fixed(f"{PROGRAM_CONFIG}-{service.name}", PROGRAM_PATH), service.program_config.name


def _fixed(name: str, path: str) -> VolumeMount:
    return VolumeMount(name=name, mount_path=path, read_only=True, immutable=True)


def written_by_user(spec: ApplicationSpec) -> ApplicationSpec:
    """Return a spec without what `completed` adds, for users send back what they were shown."""
    written = spec.model_copy(deep=True)
    for service in written.services or ():
        service.volume_mounts = [mount for mount in service.volume_mounts or () if not _is_added(mount)] or None
        if service.function_config:
            service.image, service.ports = "", None
    used = {mount.name for service in written.services or () for mount in service.volume_mounts or ()}
    added = {mount.name for service in spec.services or () for mount in service.volume_mounts or () if _is_added(mount)}
    kept = [volume for volume in written.volumes or () if volume.name in used or volume.name not in added]
    written.volumes = kept or None
    return written


def _is_added(mount: VolumeMount) -> bool:
    return mount.immutable and mount.name.startswith((FUNCTION_CONFIG, FUNCTION_CODE, PROGRAM_CONFIG))


def generated_configurations(application: Application) -> dict[str, dict[str, str]]:
    """Return the configurations that are made of an application: their data, by name."""
    return {
        _generated_name(application, service): {"conf.yml": _function_config(service)}
        for service in application.spec.services or ()
        if service.function_config
    }


def _function_config(service: Service) -> str:
    functions = [to_document(function) for function in service.functions or ()]
    return orjson.dumps({"functions": functions}).decode()


def _generated_name(application: Application, service: Service) -> str:
    """Return a name that no other application has had, nor this one in another life."""
    suffix = hashlib.sha256(f"{application.uid}/{service.name}".encode()).hexdigest()[:_SUFFIX_CHARACTERS]
    return f"{FUNCTION_CONFIG}-{application.name}-{service.name}-{suffix}".lower()


def delivered(application: Application, version: int, revisions: Mapping[Source, int]) -> Document:
    """Write an application as nodes read it.

    Args:
        application: as it is stored.
        version: what the node knows it by.
        revisions: of all that it mounts; what is made of the application itself has its version.
    """
    whole, place = completed(application), application.namespace
    document = application_document(whole, version)
    volumes = [*(whole.spec.volumes or ()), *_registry_volumes(application)]
    written = []
    for volume in volumes:
        item = to_document(volume)
        if volume.config:
            revision = revisions.get(Source("configuration", place, volume.config.name), version)
            item["config"] = {"name": volume.config.name, "version": str(revision)}
        if volume.secret:
            revision = revisions.get(Source("secret", place, volume.secret.name), version)
            item["secret"] = {"name": volume.secret.name, "version": str(revision)}
        written.append(item)
    return {**document, "volumes": written}


def _registry_volumes(application: Application) -> Iterator[Volume]:
    for registry in application.spec.registries or ():
        yield Volume(name=registry.name, secret=ObjectVersion(name=registry.name))


def application_document(application: Application, version: int) -> Document:
    """Write all of an application in the form of Baetyl's API; `version` 0 is left out."""
    meta = application.metadata
    return {
        **application_summary(application, version),
        **to_document(application.spec),
        "services": [to_document(service) for service in application.spec.services or ()],
        "volumes": [to_document(volume) for volume in application.spec.volumes or ()],
        "labels": meta.labels or {},
    }


def application_summary(application: Application, version: int) -> Document:
    """Write an application as lists show it: without what runs."""
    spec, meta = application.spec, application.metadata
    written: Document = {
        "name": application.name,
        "namespace": application.namespace,
        "labels": meta.labels or {},
        "type": spec.type,
        "mode": spec.mode,
        "selector": spec.selector,
        "description": spec.description,
        "createTime": meta.creation_timestamp,
        "cronStatus": spec.cron_status,
    }
    if version:
        written["version"] = str(version)
    if spec.system:
        written["system"] = True
    return written
