"""Whole collections, a page at a time.

Owns how lists are continued. Does not own what a page holds, nor how one is asked for (transport.py).
"""

from collections.abc import AsyncIterator

from skerry.api.errors import InternalError
from skerry.api.model import Document
from skerry.client.transport import Target, Transport

#: Objects in one page of a list.
PAGE_OBJECTS = 500


async def pages(transport: Transport, target: Target, *, label_selector: str = "") -> AsyncIterator[Document]:
    """Yield a collection's List documents, one at least, all at one revision.

    Raises:
        InternalError: the list does not get on: the server gave the token that it was asked with once more.
        ApiError: what the transport raises; Expired where the reader was slower than history is kept.
    """
    token, following = "", None
    while following != "":
        page = await transport.list(target, label_selector=label_selector, limit=PAGE_OBJECTS, continue_token=token)
        following = page["metadata"].get("continue") or ""
        if following and following == token:
            raise InternalError(
                f"the list of {target.kind.resource} does not get on: its continue token stays the same"
            )
        token = following
        yield page
