"""The trace that a run belongs to: what it continues, and its own span in it (W3C Trace Context).

A run is one span, whatever begins it: a request, an event, the clock, the failure of another run. Its function gets the
span as `traceparent` of its context, so what the function asks of others is a part of the same trace.
"""

from collections.abc import Iterator

from skerry.api.fields import FieldError, invalid, too_long
from skerry.api.model import Model
from skerry.kit.trace_context import TRACESTATE_CHARACTERS_MAX, is_traceparent


class TraceContext(Model):
    """What a run continues."""

    traceparent: str
    """The span that led to the run, in the form of the header."""
    tracestate: str = ""
    """What tracing systems say of it, in the form of the header."""


def trace_of(traceparent: str, tracestate: str) -> TraceContext | None:
    """Read what came with a request or an event; None where that is no trace, as the specification wants it."""
    if not is_traceparent(traceparent):
        return None
    known = tracestate if len(tracestate) <= TRACESTATE_CHARACTERS_MAX else ""
    return TraceContext(traceparent=traceparent, tracestate=known)


def validate_trace(trace: TraceContext | None, path: str) -> Iterator[FieldError]:
    """Check what a run is said to continue."""
    if trace is None:
        return
    if not is_traceparent(trace.traceparent):
        yield invalid(f"{path}.traceparent", trace.traceparent, "must be a traceparent of W3C Trace Context")
    if len(trace.tracestate) > TRACESTATE_CHARACTERS_MAX:
        yield too_long(f"{path}.tracestate", TRACESTATE_CHARACTERS_MAX, "characters")
