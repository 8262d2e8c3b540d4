"""The rules of leases."""

import pytest

from skerry.api.coordination_v1 import LEASE, Lease, LeaseSpec
from skerry.api.model import ObjectMeta


@pytest.mark.parametrize(
    ("spec", "paths"),
    [
        (LeaseSpec(), []),
        (LeaseSpec(holder_identity="a", lease_duration_seconds=1, lease_transitions=0), []),
        (LeaseSpec(lease_duration_seconds=0), ["spec.leaseDurationSeconds"]),
        (LeaseSpec(lease_transitions=-1, holder_identity=""), ["spec.leaseTransitions", "spec.holderIdentity"]),
    ],
)
def test_a_lease_names_its_faults(spec: LeaseSpec, paths: list[str]):
    lease = Lease(metadata=ObjectMeta(name="a", namespace="b"), spec=spec)
    assert [error.path for error in LEASE.validate(lease, None)] == paths
