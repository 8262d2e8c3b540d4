"""Delivers events: one run for each subscription that wants an event.

Owns which runs an event begins. Does not own how they go on: retries are those of any run (`dispatch_runs`), and what
becomes of one that fails for good is `dispatch_failures`' affair.

Invariant: an event is acknowledged once all of its runs are on disk. A run is named by its subscription and by the
event's source and id, so who was not told of that, and sends the event again, begins no run twice.
"""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from prometheus_client import Counter

from skerry.api.dispatch_calls import run_name, run_of
from skerry.api.dispatch_events import SUBSCRIPTION_LABEL, Event, Subscription, is_wanted
from skerry.api.dispatch_v1 import Function, Run, RunSpec
from skerry.api.errors import AlreadyExists, TooManyRequests
from skerry.api.model import ObjectMeta
from skerry.client.client import Client

EVENTS = Counter("skerry_events_total", "Events that were taken.", ["namespace"])
DELIVERIES = Counter(
    "skerry_event_deliveries_total",
    "Runs for events: begun, known (the event came before) or refused (too many runs wait).",
    ["namespace", "subscription", "result"],
)

#: Stores a run, complete and valid, to be executed in its turn. Raises TooManyRequests where too many runs wait
#: already, and AlreadyExists.
Submit: TypeAlias = Callable[[Run], Awaitable[Run]]


class EventDeliveries:
    """Begins the runs of events.

    Args:
        client: reads subscriptions.
        submit: stores runs.
    """

    def __init__(self, client: Client, submit: Submit) -> None:
        self._client = client
        self._submit = submit

    async def deliver(self, namespace: str, event: Event) -> list[str]:
        """Begin a run for each subscription that wants an event; return the runs' names.

        Subscriptions are read from the log, not from a cache: one that was acknowledged gets the next event.

        Raises:
            TooManyRequests: the function of a subscription has too many waiting runs; all others have theirs.
        """
        EVENTS.labels(namespace).inc()
        begun, refusal = [], None
        async for subscription in self._client.list(Subscription, namespace=namespace):
            if not is_wanted(subscription.spec, event):
                continue
            name = run_name(subscription.uid, *event.identity)
            try:
                result = await self._begin(subscription, event, name)
            except TooManyRequests as error:
                result, refusal = "refused", error
            else:
                begun.append(name)
            DELIVERIES.labels(namespace, subscription.name, result).inc()
        if refusal is not None:
            raise refusal
        return begun

    async def _begin(self, subscription: Subscription, event: Event, name: str) -> str:
        spec, namespace = subscription.spec, subscription.namespace
        function = await self._client.find(Function, spec.function, namespace=namespace)
        try:
            await self._submit(run_for(subscription, function, event, name))
        except AlreadyExists:
            return "known"
        return "begun"


def run_for(
    subscription: Subscription, function: Function | None, event: Event, name: str, *, dead_letter_of: str | None = None
) -> Run:
    """Make the run of a subscription for an event.

    Args:
        subscription: says what is run, and how often it is tried.
        function: what is run; None where there is none of its name.
        event: its data is the input, and the rest is in the context.
        name: of the run.
        dead_letter_of: the failed run that the event tells of.
    """
    wanted = subscription.spec
    spec = RunSpec(
        function_name=wanted.function,
        input=event.data,
        event=event.shown,
        secrets=wanted.secrets,
        tags=wanted.tags,
        retries=wanted.retries,
        backoff=wanted.backoff,
        on_failure=None if dead_letter_of else wanted.on_failure,
        dead_letter_of=dead_letter_of,
        trace=event.trace,
    )
    labels = {SUBSCRIPTION_LABEL: subscription.name}
    return run_of(function, spec, ObjectMeta(name=name, namespace=subscription.namespace, labels=labels))
