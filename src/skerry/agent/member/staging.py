"""Brings all that an application needs to this node: its document, its configurations and secrets, their files.

What is in the replica is not asked for again: so an application that ran before runs without the control plane. Owns
the order of these steps.
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Protocol

from skerry.agent.member.documents import (
    APPLICATION,
    CONFIGURATION,
    SECRET,
    Application,
    Resource,
    ResourceKind,
    read_application,
    read_object,
    read_resource,
    require_safe_name,
)
from skerry.agent.member.downloads import Downloads
from skerry.agent.member.errors import ApplicationError
from skerry.agent.member.registries import login_of
from skerry.agent.member.replica import Reference, Replica
from skerry.agent.member.volumes import OBJECT_PREFIX, Files, Volumes, contents, require_file_name
from skerry.api.baetyl_application_services import Volume
from skerry.api.model import Document
from skerry.kit.tasks import run_blocking


class Resources(Protocol):
    """Where resources are asked for: `link.CloudLink`."""

    async def desire(self, wanted: Sequence[Reference]) -> list[Document]:
        """Return resources, asked for by kind, name and version; raises LinkError, also where one is missing."""
        ...


class Stage:
    """Brings applications.

    Args:
        cloud: has what the replica lacks.
        replica: keeps what it tells.
        downloads: fetch files that lie elsewhere.
        volumes: lay out what was brought.
        executor: for files.
    """

    def __init__(
        self, cloud: Resources, replica: Replica, downloads: Downloads, volumes: Volumes, executor: Executor
    ) -> None:
        self._cloud = cloud
        self._replica = replica
        self._downloads = downloads
        self._volumes = volumes
        self._executor = executor

    async def bring(self, name: str, version: str) -> Application:
        """Return an application whose files are all laid out.

        Raises:
            LinkError: something has to be asked of the control plane, which can't be reached or refuses it.
            ApplicationError: something of it can't be used.
        """
        (document,) = await self._documents([(APPLICATION, name, version)])
        application = read_application({**document, "name": name, "version": version})
        mounted = [(volume, reference_of(volume)) for volume in application.volumes or ()]
        needed = [(volume, reference) for volume, reference in mounted if reference is not None]
        documents = await self._documents([reference for _, reference in needed])
        resources = {
            volume.name: (volume, read_resource({**found, "name": reference[1], "version": reference[2]}))
            for (volume, reference), found in zip(needed, documents, strict=True)
        }
        logins = {name: login for name, (_, resource) in resources.items() if (login := login_of(resource))}
        application = application.model_copy(update={"logins": tuple(logins.values())})
        files = Files(
            {name: contents(volume, resource) for name, (volume, resource) in resources.items() if name not in logins},
            {name: await self._fetched(resource) for name, (_, resource) in resources.items()},
        )
        try:
            await run_blocking(self._executor, partial(self._volumes.lay_out, application, files))
        except OSError as error:
            raise ApplicationError(f"its files can't be written: {error.strerror or error}") from error
        return application

    async def forget_all_but(self, applications: Sequence[Application]) -> None:
        """Let go of what was brought for anything but these."""
        used: set[Reference] = {(APPLICATION, each.name, each.version) for each in applications}
        for application in applications:
            used |= {reference for volume in application.volumes or () if (reference := reference_of(volume))}
        await run_blocking(self._executor, partial(self._replica.forget_all_but, used))
        await self._downloads.forget_all_but({(name, version) for kind, name, version in used if kind == CONFIGURATION})

    async def _documents(self, references: Sequence[Reference]) -> list[Document]:
        """Return resources from the replica, and those that it lacks from the control plane, in one request."""
        kept = {reference: self._replica.find(reference) for reference in references}
        found = {reference: document for reference, document in kept.items() if document is not None}
        missing = [reference for reference in kept if reference not in found]
        if missing:
            told = await self._cloud.desire(missing)
            for reference, document in zip(missing, told, strict=True):
                try:
                    self._replica.keep(reference, document)
                except OSError as error:
                    raise ApplicationError(f"{reference[0]} {reference[1]} can't be kept: {error.strerror}") from error
                found[reference] = document
        return [found[reference] for reference in references]

    async def _fetched(self, resource: Resource) -> dict[str, Path]:
        """Fetch the files of a configuration that lie elsewhere; return where they are, by name."""
        fetched = {}
        for key, text in (resource.data or {}).items():
            if key.startswith(OBJECT_PREFIX):
                name = key.removeprefix(OBJECT_PREFIX)
                require_file_name(name)
                wanted = read_object(name, text)
                fetched[name] = await self._downloads.bring(resource.name, resource.version, name, wanted)
        return fetched


def reference_of(volume: Volume) -> Reference | None:
    """Return the resource that a volume is filled from; None for a volume that is not.

    Raises:
        ApplicationError: the control plane did not say in which version.
    """
    kind: ResourceKind = CONFIGURATION if volume.config else SECRET
    named = volume.config or volume.secret
    if named is None:
        return None
    if not named.version:
        raise ApplicationError(f"volume {volume.name}: the version of its {kind} is not told")
    try:
        require_safe_name(named.name)
        require_safe_name(named.version)
    except ValueError as error:
        raise ApplicationError(f"volume {volume.name}: {error}") from error
    return kind, named.name, named.version
