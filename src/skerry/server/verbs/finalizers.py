"""What holds an ending object back: its finalizers, and for a namespace also those of its spec.

Owns which finalizers a propagation policy asks for, and who may write a namespace's own. Does not own what is done
before one is taken off: that is a controller's (`controllers.garbage`, `controllers.namespaces`), or a user's.
"""

from typing import Any, cast

from skerry.api.kinds import Kind
from skerry.api.model import FOREGROUND_FINALIZER, ORPHAN_FINALIZER, Document
from skerry.server.verbs.requests import Propagation, Target

_ASKED_FOR_BY: dict[Propagation, tuple[str, ...]] = {
    "Background": (),
    "Foreground": (FOREGROUND_FINALIZER,),
    "Orphan": (ORPHAN_FINALIZER,),
}
_OF_PROPAGATION = frozenset({FOREGROUND_FINALIZER, ORPHAN_FINALIZER})


def is_held_back(kind: Kind[Any], document: Document) -> bool:
    """Tell whether an object has to stay, once its deletion was asked for."""
    if document["metadata"].get("finalizers"):
        return True
    return kind.resource == "namespaces" and bool((document.get("spec") or {}).get("finalizers"))


def with_propagation(finalizers: list[str], propagation: Propagation | None) -> list[str]:
    """Return an object's finalizers as a delete with this policy leaves them.

    A delete without a policy keeps what is there: the finalizers say how dependents end. One with a policy
    replaces what an earlier one asked for (k8s.io/apiserver, deletionFinalizersForGarbageCollection).
    """
    if propagation is None:
        return finalizers
    wanted = _ASKED_FOR_BY[propagation]
    kept = [name for name in finalizers if name in wanted or name not in _OF_PROPAGATION]
    return [*kept, *(name for name in wanted if name not in kept)]


def keep_namespace_finalizers(target: Target, old: Document, wanted: Document) -> None:
    """Carry over the finalizers of a namespace's spec, which only its `finalize` subresource changes."""
    if target.kind.resource == "namespaces" and target.subresource != "finalize":
        wanted["spec"] = cast("Document", old.get("spec") or {})
