"""Which applications use a configuration or a secret, as this door lists them."""

from dataclasses import dataclass

from skerry.api.baetyl_applications import Application
from skerry.api.errors import NotFound
from skerry.api.model import Document
from skerry.fleet.applications import application_summary
from skerry.fleet.index import Sort, Source
from skerry.server.baetyl.door import Asked
from skerry.server.baetyl.fleet import Fleet
from skerry.server.baetyl.listing import answered


@dataclass(frozen=True, slots=True)
class Usage:
    """Tells who uses what.

    Attributes:
        fleet: knows who mounts what.
    """

    fleet: Fleet

    async def listed(self, asked: Asked, sort: Sort) -> Document:
        """List the applications that use what the path names."""
        items = []
        for name in self.fleet.index.users_of(Source(sort, asked.namespace, asked.name)):
            try:
                items.append(self.summary(await asked.objects.get(Application, name)))
            except NotFound:
                continue  # deleted in this very moment
        return answered(asked, items, "")

    def summary(self, application: Application) -> Document:
        """Write an application as lists show it."""
        return application_summary(application, self.version_of(application))

    def version_of(self, application: Application) -> int:
        """Return the version of an application; of one that lacks what it mounts, its own revision."""
        version = self.fleet.index.version_of((application.namespace, application.name))
        return version or int(application.metadata.resource_version or 0)
