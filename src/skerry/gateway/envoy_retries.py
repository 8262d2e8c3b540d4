"""What is sent again to an engine worker, and how often: requests of functions, and those that filters are shown.

Owns when a second try does no harm. A worker that died may have acted on what it had: so whatever did not reach it is
sent again, and what may have reached it where its method allows that.
"""

from typing import TypeVar

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2 as rc
from envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2 import PreviousHostsPredicate

from skerry.gateway.envoy_words import any_of, duration

#: Methods that RFC 9110 calls idempotent and that have a meaning here: a second try does no harm.
IDEMPOTENT_METHODS = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")

#: Always safe: the request has not reached the worker. A reset tells nothing about that; nor what it was: to Envoy
#: (`RetryStateImpl::wouldRetryFromReset`) a response that it refuses is as good a reason as a worker that died.
RETRY_UNSENT = "connect-failure,refused-stream,reset-before-request"
RETRY_RESET = f"{RETRY_UNSENT},reset"

#: An engine worker that was killed is back within a second. Envoy draws each delay between nothing and its step, so
#: these tries span 5 seconds in the mean; and once a request was shown to each worker, any of them is drawn again, dead
#: ones too: with one of two back, a try reaches it half of the time.
RETRIES_MAX = 24
RETRY_DELAY_FIRST_SECONDS = 0.025
RETRY_DELAY_MAX_SECONDS = 0.5
#: How often another worker is drawn before the same one is taken again.
RETRY_HOST_DRAWS_MAX = 3

Policy = TypeVar("Policy", rc.RetryPolicy, base_pb2.RetryPolicy)


def retry_policy(kind: type[Policy], retry_on: str) -> Policy:
    """Write a policy: of a route, or of a stream of filtered requests."""
    policy = kind(retry_on=retry_on, host_selection_retry_max_attempts=RETRY_HOST_DRAWS_MAX)
    policy.retry_host_predicate.add(
        name="envoy.retry_host_predicates.previous_hosts", typed_config=any_of(PreviousHostsPredicate())
    )
    policy.num_retries.value = RETRIES_MAX
    policy.retry_back_off.base_interval.CopyFrom(duration(RETRY_DELAY_FIRST_SECONDS))
    policy.retry_back_off.max_interval.CopyFrom(duration(RETRY_DELAY_MAX_SECONDS))
    return policy
