"""Applications: services for every node that a selector matches."""

from skerry.api.baetyl_application_rules import start_of
from skerry.api.baetyl_applications import APPLICATION, Application
from skerry.api.baetyl_secrets import TYPE_LABEL
from skerry.api.baetyl_v1alpha1 import APP_NAME_LABEL
from skerry.api.core_v1 import Secret
from skerry.api.errors import AlreadyExists, NotFound
from skerry.api.model import Document, R
from skerry.fleet.applications import application_document, completed
from skerry.kit.clock import Clock
from skerry.server.baetyl import errors
from skerry.server.baetyl.application_bodies import ApplicationBody, created, replaced
from skerry.server.baetyl.bodies import refuse_reserved
from skerry.server.baetyl.certificates import CERTIFICATES
from skerry.server.baetyl.configurations import CONFIGURATIONS
from skerry.server.baetyl.door import Asked, Described, Handler, Operation, success
from skerry.server.baetyl.listing import LIST_QUERY, Listing, listed
from skerry.server.baetyl.secrets import REGISTRIES, SECRETS, decoded
from skerry.server.baetyl.usage import Usage
from skerry.server.http import Response
from skerry.server.operations import json

_COLLECTION = "/v1/apps"
_ITEM = "/v1/apps/{name}"
#: Label of applications that are not to be seen.
_INVISIBLE_LABEL = "resource-invisible"


class Applications:
    """The handlers of applications.

    Args:
        usage: tells their versions.
        clock: tells which times have passed.
    """

    def __init__(self, usage: Usage, clock: Clock) -> None:
        self._usage = usage
        self._clock = clock

    def operations(self) -> list[Operation]:
        """Return what may be asked."""
        one, body = Described("Application"), Described("Application", ApplicationBody)
        new = Described("Application", ApplicationBody, ("base", "from"))
        many = Described("ApplicationList", query=LIST_QUERY)
        return [
            Operation("POST", _COLLECTION, "create", APPLICATION, self.create, new),
            Operation("GET", _COLLECTION, "list", APPLICATION, self.list, many),
            Operation("GET", _ITEM, "get", APPLICATION, self.get, one),
            Operation("PUT", _ITEM, "update", APPLICATION, self.replace, body),
            Operation("DELETE", _ITEM, "delete", APPLICATION, self.delete),
            _made_for("configs", CONFIGURATIONS, "ConfigurationList"),
            _made_for("secrets", SECRETS, "SecretList"),
            _made_for("registries", REGISTRIES, "RegistryList"),
            _made_for("certificates", CERTIFICATES, "CertificateList"),
        ]

    async def create(self, asked: Asked) -> Response:
        """Create an application."""
        body = await asked.body(ApplicationBody)
        refuse_reserved(body.name)
        application = await created(asked, body)
        self._require_to_come(application)
        try:
            return json(await self._view(asked, await asked.objects.create(application)))
        except AlreadyExists as error:
            raise errors.in_use(f"The app ({body.name}) has been used: this name is already in use.") from error

    async def list(self, asked: Asked) -> Response:
        """List applications, without what runs."""
        return json(await listed(asked, Listing(Application, self._usage.summary)))

    async def get(self, asked: Asked) -> Response:
        """Get an application."""
        application = await asked.objects.get(Application, asked.name)
        _require_visible(application)
        return json(await self._view(asked, application))

    async def replace(self, asked: Asked) -> Response:
        """Replace what an application runs, and where."""
        body = await asked.body(ApplicationBody)
        old = await asked.objects.get(Application, asked.name)
        _require_visible(old)
        new = await replaced(asked, body, old)
        if (new.spec.cron_status, new.spec.cron_time) != (old.spec.cron_status, old.spec.cron_time):
            self._require_to_come(new)

        def change(application: Application) -> None:
            if application.spec.system:
                _require_kept(application, new)
            application.spec, application.metadata.labels = new.spec, new.metadata.labels

        return json(await self._view(asked, await asked.objects.change(Application, asked.name, change)))

    async def delete(self, asked: Asked) -> Response:
        """Delete an application; the nodes that run it stop it."""
        refuse_reserved(asked.name)
        application = await asked.objects.get(Application, asked.name)
        if application.spec.system and self._usage.fleet.index.nodes_of((asked.namespace, asked.name)):
            raise errors.BaetylError("ErrAppReferencedByNode", f"The app ({asked.name}) is a part of a node.")
        await asked.objects.delete(Application, asked.name)
        return success()

    def _require_to_come(self, application: Application) -> None:
        """Refuse an application that waits for a time that has passed; from kubectl, it begins at once."""
        start = start_of(application.spec)
        if start is not None and start <= self._clock.now():
            raise errors.invalid(f"spec.cronTime: {application.spec.cron_time} has passed")

    async def _view(self, asked: Asked, application: Application) -> Document:
        """Write an application with all that follows from it; certificates and registries by what they are."""
        document = application_document(completed(application), self._usage.version_of(application))
        for volume in document["volumes"]:
            if "secret" in volume and await _type_of(asked, volume["secret"]["name"]) == "certificate":
                volume["certificate"] = volume.pop("secret")
        names = [registry.name for registry in application.spec.registries or ()]
        return {**document, "registries": [await _registry(asked, name) for name in names]}


def _made_for(part: str, listing: Listing[R], answers: str) -> Operation:
    """Return the operation that lists what was made for an application, by the label that says so."""

    async def made_for(asked: Asked) -> Response:
        await asked.objects.get(Application, asked.name)
        labels = ",".join(each for each in (listing.labels, f"{APP_NAME_LABEL}={asked.name}") if each)
        return json(await listed(asked, Listing(listing.model, listing.view, labels, hides_system=False)))

    made_for.__doc__ = f"List the {part} that were made for an application."
    handler: Handler = made_for
    return Operation("GET", f"{_ITEM}/{part}", "get", APPLICATION, handler, Described(answers, query=LIST_QUERY))


def _require_visible(application: Application) -> None:
    if (application.metadata.labels or {}).get(_INVISIBLE_LABEL) == "true":
        raise errors.BaetylError("ErrResourceInvisible", f"The app ({application.name}) is invisible.")


def _require_kept(old: Application, new: Application) -> None:
    if (old.metadata.labels or {}) != (new.metadata.labels or {}) or old.spec.selector != new.spec.selector:
        raise errors.invalid("labels and selector of a system application can't be changed")


async def _type_of(asked: Asked, name: str) -> str:
    try:
        return ((await asked.objects.get(Secret, name)).metadata.labels or {}).get(TYPE_LABEL, "")
    except NotFound:
        return ""


async def _registry(asked: Asked, name: str) -> Document:
    """Write the credentials that an application names, less the password; only the name where they are gone."""
    try:
        data = decoded(await asked.objects.get(Secret, name))
    except NotFound:
        return {"name": name}
    return {"name": name, "address": data.get("address", ""), "username": data.get("username", "")}
