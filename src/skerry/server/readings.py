"""What was read of objects last: an object that did not change is not read again.

Owns the bound. Does not own whether a state is the newest: whoever asks has got that from the verbs.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from skerry.api.model import Document
from skerry.server.verbs.requests import Target
from skerry.server.verbs.stored import Stored

T = TypeVar("T")


class Readings(Generic[T]):
    """What was made of objects, by their names; of the least used ones it forgets.

    Args:
        remembered_max: objects.
    """

    def __init__(self, remembered_max: int) -> None:
        self._remembered_max = remembered_max
        self._known: OrderedDict[tuple[str, str, str], tuple[int, T]] = OrderedDict()

    def of(self, target: Target, stored: Stored, read: Callable[[Document], T]) -> T:
        """Return what `read` makes of a stored state. Shared by all who ask: it is not to be changed."""
        key = target.kind.resource, target.namespace, target.name
        known = self._known.pop(key, None)
        if known is None or known[0] != stored.revision:
            known = stored.revision, read(stored.document)
        self._known[key] = known
        if len(self._known) > self._remembered_max:
            self._known.popitem(last=False)
        return known[1]
