"""The instances of an application, whatever runs them: how many there are, what they are called, what they are told.

Pure, but for what its caller does with each.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from skerry.agent.member.documents import Application
from skerry.agent.member.errors import ApplicationError
from skerry.api.baetyl_application_services import Service

#: Of one service.
INSTANCES_MAX = 100

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Instance:
    """One of the instances that a service of an application is to have.

    Attributes:
        number: from 0.
    """

    application: Application
    service: Service
    number: int

    @property
    def name(self) -> str:
        """Its name, unique on this node."""
        return f"{self.application.name}.{self.application.version}.{self.service.name}.{self.number}"

    def environment(self, node: str, mode: str) -> dict[str, str]:
        """Return the variables that it finds: of Baetyl's, which say who it is, and its service's own.

        Raises:
            ApplicationError: one of them can't be in an environment.
        """
        own = {each.name: each.value for each in self.service.env or ()}
        if wrong := [name for name, value in own.items() if not name or "=" in name or "\0" in name + value]:
            raise ApplicationError(f"env {wrong[0]!r} can't be in an environment")
        return {
            "BAETYL_APP_NAME": self.application.name,
            "BAETYL_APP_VERSION": self.application.version,
            "BAETYL_SERVICE_NAME": self.service.name,
            "BAETYL_NODE_NAME": node,
            "BAETYL_RUN_MODE": mode,
            **own,
        }


def for_each_instance(application: Application, make: Callable[[Instance], T]) -> list[T]:
    """Return what is made of each instance of an application.

    Raises:
        ApplicationError: there are too many, or something of one can't be had: it names the service.
    """

    def of_service(service: Service) -> list[T]:
        return [make(Instance(application, service, number)) for number in range(count_of(application, service))]

    return [made for each in for_each_service(application, of_service) for made in each]


def for_each_service(application: Application, make: Callable[[Service], T]) -> list[T]:
    """Return what is made of each service of an application.

    Raises:
        ApplicationError: something of one can't be had: it names the service.
    """
    if application.init_services:
        raise ApplicationError("this node does not run initServices: make them a part of the service's own start")
    made = []
    for service in application.services:
        try:
            made.append(make(service))
        except ApplicationError as error:
            raise ApplicationError(f"service {service.name}: {error.public}") from error
        except OSError as error:
            raise ApplicationError(f"service {service.name}: {error.strerror or error}") from error
    return made


def count_of(application: Application, service: Service) -> int:
    """Return how many instances a service is to have. Raises ApplicationError."""
    count = max(service.replica, application.replica or 0)
    if count > INSTANCES_MAX:
        raise ApplicationError(f"it is to have more than {INSTANCES_MAX} instances")
    return count
