"""How long to wait before the next try: exponential, capped, with jitter."""

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """A growing delay; `reset()` after a success.

    Delays are drawn evenly from [delay/2, delay], so that many clients that failed together
    do not come back together.
    """

    first_seconds: float = 0.1
    factor: float = 2.0
    max_seconds: float = 30.0
    _next_seconds: float = field(default=0.0, init=False)

    def reset(self) -> None:
        """Start again from the first delay."""
        self._next_seconds = 0.0

    def next_seconds(self) -> float:
        """Return the delay before the next try, in seconds."""
        delay = self._next_seconds or self.first_seconds
        self._next_seconds = min(delay * self.factor, self.max_seconds)
        return random.uniform(delay / 2, delay)  # noqa: S311 - jitter is no secret, and a seed a backoff costs a call
