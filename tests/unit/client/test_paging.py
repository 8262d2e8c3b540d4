from typing import Any

import pytest

from skerry.api.core_v1 import CONFIG_MAP
from skerry.api.errors import InternalError
from skerry.api.model import Document
from skerry.client.paging import pages
from skerry.client.transport import Target


class Repeating:
    """A server that goes on with the list that it was asked for."""

    async def list(self, _target: Target, **_options: object) -> Document:
        return {"metadata": {"resourceVersion": "1", "continue": "the same"}, "items": []}


async def test_a_list_that_does_not_get_on_ends_in_an_error():
    server: Any = Repeating()
    with pytest.raises(InternalError, match="the list of configmaps does not get on"):
        async for _ in pages(server, Target(CONFIG_MAP)):
            pass
