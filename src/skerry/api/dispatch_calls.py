"""Runs as they are begun: by a request, an event, a schedule, or the failure of another run.

Who begins a run more than once for the same reason gives it the same name, so that it is one run.
"""

import uuid
from functools import lru_cache

import orjson

from skerry.api.decoding import complete
from skerry.api.dispatch_v1 import RUN, Function, Run, RunSpec, RunStatus
from skerry.api.model import ObjectMeta, OwnerReference, made, set_fields

#: Functions whose references are at hand.
_OWNERS_REMEMBERED = 1024
#: Names the runs that are begun for a reason that may come twice.
_REASONS = uuid.UUID("0c2f6a52-8a0e-4d0b-9d0e-5a5f6f3f4b7e")


def run_name(*reason: str) -> str:
    """Return the name, a UUID, of the one run that there is for a reason."""
    return str(uuid.uuid5(_REASONS, orjson.dumps(reason).decode()))


def run_of(function: Function | None, spec: RunSpec, metadata: ObjectMeta) -> Run:
    """Make a run of a function, complete and valid; the function owns it: it goes when its function goes.

    Args:
        function: None where there is none of that name, which the run's end will tell.
        spec: what is to be run; where it does not say who is told of a failure, the function does.
        metadata: name and namespace.

    Raises:
        Invalid: with every rule of runs that it breaks.
    """
    run = made(Run, {"metadata": metadata, "spec": spec, "status": made(RunStatus, {})})
    if function is not None:
        adopt(run, function)
    complete(RUN, run, None)
    return run


def adopt(run: Run, function: Function) -> None:
    """Make a run its function's, which others may have made, with kubectl for example: nothing where it is already."""
    if any(owner.uid == function.uid for owner in run.metadata.owner_references or ()):
        return
    owner = _owner(function.api_version, function.kind, function.name, function.uid)
    set_fields(run.metadata, {"owner_references": [*(run.metadata.owner_references or ()), owner]})
    if function.spec.on_failure is not None and run.spec.on_failure is None and run.spec.dead_letter_of is None:
        run.spec = run.spec.model_copy(update={"on_failure": function.spec.on_failure})


@lru_cache(_OWNERS_REMEMBERED)
def _owner(api_version: str, kind: str, name: str, uid: str) -> OwnerReference:
    """Return a reference, shared by all runs of a function: references are put in place of others, never changed."""
    return OwnerReference(api_version=api_version, kind=kind, name=name, uid=uid)
