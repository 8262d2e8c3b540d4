"""coordination.k8s.io/v1: Lease, by which one of many processes is chosen."""

from collections.abc import Iterator

from pydantic import Field

from skerry.api.fields import FieldError, invalid
from skerry.api.kinds import Column, Kind, value_at
from skerry.api.model import Int32, Model, Resource, Time


class LeaseSpec(Model):
    """Who holds a lease, and since when."""

    holder_identity: str | None = None
    """Who holds it; nobody where it is absent."""
    lease_duration_seconds: Int32 | None = None
    """How long others wait, from the last renewal that they saw, before they take it."""
    acquire_time: Time | None = None
    """When the holder took it, by its own clock."""
    renew_time: Time | None = None
    """When the holder last renewed it, by its own clock."""
    lease_transitions: Int32 | None = None
    """How often it has changed hands."""
    strategy: str | None = None
    """For coordinated election; kept, not acted on."""
    preferred_holder: str | None = None
    """Likewise."""


class Lease(Resource):
    """A lease, which its holder renews."""

    spec: LeaseSpec = Field(default_factory=LeaseSpec)
    """Who holds it."""


def _validate(lease: Lease, _: Lease | None) -> Iterator[FieldError]:
    # https://github.com/kubernetes/kubernetes pkg/apis/coordination/validation
    duration, transitions = lease.spec.lease_duration_seconds, lease.spec.lease_transitions
    if duration is not None and duration <= 0:
        yield invalid("spec.leaseDurationSeconds", duration, "must be greater than 0")
    if transitions is not None and transitions < 0:
        yield invalid("spec.leaseTransitions", transitions, "must be greater than or equal to 0")
    if lease.spec.holder_identity == "":
        yield invalid("spec.holderIdentity", "", "must not be empty")


LEASE = Kind(
    group="coordination.k8s.io",
    version="v1",
    model=Lease,
    plural="leases",
    namespaced=True,
    columns=(Column("Holder", value_at(".spec.holderIdentity"), description="Who holds it."),),
    validate=_validate,
    core_semantics=True,
    read_by="view",
)
