"""What many watchers of one change cost: counted, not timed."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from skerry.api.core_v1 import CONFIG_MAP
from skerry.api.selectors import parse_field_selector
from skerry.kit.clock import SystemClock
from skerry.server.kube.negotiation import OBJECTS, Form
from skerry.server.kube.rendering import PART_BYTES, Renderer
from skerry.server.metrics import ENCODINGS
from skerry.server.verbs.requests import Selection, Target, WatchOptions, WriteOptions
from skerry.server.verbs.verbs import Verbs
from skerry.store.log import RevisionLog
from skerry.testing.api_server import open_verbs

CONFIGS = Target(CONFIG_MAP, "default")
WATCHERS = 10_000
NOW = WriteOptions()


@pytest.fixture
async def opened() -> AsyncIterator[tuple[Verbs, RevisionLog]]:
    async with open_verbs() as verbs_and_log:
        yield verbs_and_log


def renderer(form: Form = OBJECTS) -> Renderer:
    return Renderer(CONFIG_MAP, form, "Metadata", SystemClock())


def encodings() -> float:
    return next(iter(ENCODINGS.collect())).samples[0].value


async def test_ten_thousand_watchers_of_a_change_cost_one_encoding_of_it_a_form(opened: Any) -> None:
    verbs, log = opened
    options = WatchOptions(resource_version=str(await log.revision()))
    forms = [OBJECTS, Form("metadata")]
    async with AsyncExitStack() as stack:
        watches = [
            (await stack.enter_async_context(verbs.watch(CONFIGS, options)), renderer(forms[number % 2]))
            for number in range(WATCHERS)
        ]
        before = encodings()
        await verbs.create(CONFIGS, {"metadata": {"name": "a"}, "data": {"k": "v"}}, NOW)
        lines = [b"".join(render.events(await anext(seen))) for seen, render in watches]
        assert encodings() - before == len(forms)
        assert len(set(lines)) == len({id(line) for line in lines}) == len(forms)


async def test_a_change_reaches_only_those_who_watch_that_object(opened: Any) -> None:
    verbs, log = opened
    start = str(await log.revision())
    async with AsyncExitStack() as stack:
        for number in range(1_000):
            chosen = Selection(fields=parse_field_selector(f"metadata.name=node-{number}"))
            options = WatchOptions(chosen, resource_version=start, bookmarks=True)
            seen = await stack.enter_async_context(verbs.watch(CONFIGS, options))
            await anext(seen)  # a bookmark: it has caught up
        scopes = {scope.name: len(watches) for scope, watches in log._hub._live.items()}
        assert scopes | {f"node-{number}": 1 for number in range(1_000)} == scopes


async def test_what_a_client_holds_that_stands_still_is_bounded(opened: Any) -> None:
    verbs, log = opened
    start = str(await log.revision())
    for number in range(20):
        await verbs.create(CONFIGS, {"metadata": {"name": f"c{number}"}, "data": {"k": "v" * 10_000}}, NOW)
    async with verbs.watch(CONFIGS, WatchOptions(resource_version=start)) as seen:
        parts = [len(part) for part in renderer().events(await anext(seen))]
    assert sum(parts) > 20 * 10_000
    assert max(parts) < PART_BYTES + 11_000
