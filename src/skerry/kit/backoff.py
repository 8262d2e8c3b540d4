"""How long to wait before the next try: exponential, capped, with jitter."""

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """A growing delay; `reset()` after a success.

    Delays are drawn evenly from the last `jitter_share` of each, so that many clients that failed together do not come
    back together: from its second half, or, with 1, from all of it ("full jitter"), where thousands wait for the same.
    """

    first_seconds: float = 0.1
    factor: float = 2.0
    max_seconds: float = 30.0
    jitter_share: float = 0.5
    _next_seconds: float = field(default=0.0, init=False)

    def reset(self) -> None:
        """Start again from the first delay."""
        self._next_seconds = 0.0

    def next_seconds(self) -> float:
        """Return the delay before the next try, in seconds."""
        delay = min(self._next_seconds or self.first_seconds, self.max_seconds)
        self._next_seconds = delay * self.factor
        return random.uniform(delay * (1 - self.jitter_share), delay)  # noqa: S311 - jitter is no secret, and a seed a backoff costs a call
