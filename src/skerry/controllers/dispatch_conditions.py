"""What conditions say of a thing whose last good state serves until the newest is there."""

from skerry.api.model import Condition, Conditions, condition_of, with_condition
from skerry.functions import SystemError  # noqa: A004 - see functions.errors
from skerry.kit.clock import Clock, rfc3339

#: Why the newest state is not there: it never will be; or what makes it is away, and it is tried again.
_FAILED, _UNAVAILABLE = "Failed", "Unavailable"


def is_settled(conditions: Conditions) -> bool:
    """Tell whether what was decided stays so until something changes: not where the system was at fault."""
    latest = condition_of(conditions, "Latest")
    return latest is not None and latest.reason != _UNAVAILABLE


def served(
    conditions: Conditions, *, serves: bool, problem: Exception | None, generation: int | None, clock: Clock
) -> list[Condition]:
    """Return the conditions with Ready and Latest as they are now.

    Args:
        conditions: those that were.
        serves: whether there is a state that serves: Ready.
        problem: why it is not the newest; None where it is: Latest.
        generation: the newest.
        clock: stamps them.
    """
    reason = _UNAVAILABLE if isinstance(problem, SystemError) else _FAILED
    latest = ("False", reason, str(problem)) if problem else ("True", "Deployed", "")
    ready = ("True", "Deployed", "") if serves else latest
    told = list(conditions or ())
    for kind, (is_so, reason, message) in (("Ready", ready), ("Latest", latest)):
        told = with_condition(
            told,
            Condition(
                type=kind,
                status="True" if is_so == "True" else "False",
                reason=reason,
                message=message,
                observed_generation=generation,
                last_transition_time=rfc3339(clock.now()),
            ),
        )
    return told
