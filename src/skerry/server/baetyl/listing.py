"""Lists of this door: which objects are asked for, and the form in which they are answered.

Two ways to page are served: `limit` and `continue`, as Kubernetes has them, and `pageNo`, `pageSize` and `name`, which
count and number all that there is. Objects that Skerry made for nodes are left out unless the selector names them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic

from skerry.api.baetyl_v1alpha1 import SYSTEM_LABEL
from skerry.api.model import Document, R
from skerry.api.selectors import SelectorError, parse_field_selector, parse_label_selector
from skerry.server.baetyl import errors
from skerry.server.baetyl.door import Asked
from skerry.server.verbs.requests import ListOptions, Selection

#: What may be in the query of a list.
LIST_QUERY = ("selector", "fieldSelector", "limit", "continue", "pageNo", "pageSize", "name")
_SORTED = ("asc", "desc")


@dataclass(frozen=True, slots=True)
class Listing(Generic[R]):
    """What a route lists.

    Attributes:
        model: of the objects.
        view: how one is shown.
        labels: a selector that all of them fulfil, besides what is asked for; "" for any.
        hides_system: whether objects that Skerry made for nodes are left out.
        keeps: made of the request, tells which of the selected are shown; None where all are.
    """

    model: type[R]
    view: Callable[[R], Document]
    labels: str = ""
    hides_system: bool = True
    keeps: Callable[[Asked], Callable[[R], bool] | None] = lambda _: None


async def listed(asked: Asked, listing: Listing[R]) -> Document:
    """List objects; raises BaetylError for a query that can't be read."""
    options, keeps = _options(asked, listing), listing.keeps(asked)
    page_number, page_size = _number(asked, "pageNo"), _number(asked, "pageSize")
    order, name = asked.query("createSort"), asked.query("name")
    if order and order not in _SORTED:
        raise errors.invalid(f"createSort must be asc or desc, and is {order}")
    if not (keeps or page_number or page_size or order or name):
        found, token = await asked.objects.page(listing.model, options)
        return answered(asked, [listing.view(obj) for obj in found], token)
    whole = ListOptions(options.selection)
    selected, _ = await asked.objects.page(listing.model, whole)
    matching = [obj for obj in selected if name in obj.name and (keeps is None or keeps(obj))]
    matching.sort(key=lambda obj: obj.metadata.creation_timestamp or "", reverse=order != "asc")
    first = (max(page_number, 1) - 1) * page_size
    shown = matching[first : first + page_size] if page_size else matching
    document = answered(asked, [listing.view(obj) for obj in shown], "")
    return {**document, "total": len(matching), "pageNo": max(page_number, 1), "pageSize": page_size}


def answered(asked: Asked, items: Sequence[Document], token: str) -> Document:
    """Write a list."""
    options = {name: asked.query(name) for name in ("selector", "fieldSelector") if asked.query(name)}
    written: Document = {**options, **({"continue": token} if token else {})}
    if limit := _number(asked, "limit"):
        written["limit"] = limit
    return {"total": len(items), "listOptions": written, "items": list(items)}


def _options(asked: Asked, listing: Listing[R]) -> ListOptions:
    selector = asked.query("selector")
    terms = [term for term in (selector, listing.labels) if term.strip()]
    if listing.hides_system and SYSTEM_LABEL not in selector:
        terms.append(f"!{SYSTEM_LABEL}")
    try:
        labels = parse_label_selector(",".join(terms))
        fields = parse_field_selector(asked.query("fieldSelector"))
    except SelectorError as error:
        raise errors.invalid(str(error)) from error
    return ListOptions(Selection(labels, fields), _number(asked, "limit"), asked.query("continue"))


def _number(asked: Asked, name: str) -> int:
    """Read a number of the query; 0 for what is none, as upstream does."""
    text = asked.query(name)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
