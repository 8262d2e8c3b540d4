"""Runs functions by the clock: each due time of a function's schedule is one run.

The run's name follows from function, schedule and time, so each time is one run, however many look and over restarts.
"""

import datetime as dt

from skerry.api.dispatch_calls import run_name, run_of
from skerry.api.dispatch_events import own_event
from skerry.api.dispatch_v1 import Function, FunctionSchedule, RunSpec
from skerry.api.errors import AlreadyExists
from skerry.api.model import ObjectMeta
from skerry.client.client import Client
from skerry.client.informer import Informer
from skerry.controllers.dispatch_events import Submit
from skerry.controllers.schedules import Schedules
from skerry.kit.clock import Clock, rfc3339
from skerry.kit.logs import get_logger

log = get_logger(__name__)

#: The type of the event that such a run is told of.
SCHEDULED_TYPE = "dev.skerry.dispatch.schedule"


def function_schedules(
    client: Client, functions: Informer[Function], submit: Submit, clock: Clock
) -> Schedules[Function]:
    """Return what runs functions by the clock."""

    async def fire(function: Function, schedule: FunctionSchedule, due: dt.datetime) -> None:
        time, key = rfc3339(due), schedule.key
        name = run_name("schedule", function.uid, *key, time)
        source = f"/namespaces/{function.namespace}/functions/{function.name}/schedules"
        event = own_event(SCHEDULED_TYPE, source=source, event_id=name, time=time, data=None)
        spec = RunSpec(function_name=function.name, input=schedule.input, event={**event.shown, "subject": key[0]})
        try:
            await submit(run_of(function, spec, ObjectMeta(name=name, namespace=function.namespace)))
        except AlreadyExists:
            log.info("schedule has fired before", function=function.name, due=time)

    return Schedules(client, functions, lambda function: function.spec.schedules or (), fire, clock)
