"""What errors of PostgreSQL mean to who moves a log."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from skerry.store.moving.errors import MovingError


@contextmanager
def failures_told(name: str) -> Iterator[None]:
    """Turn what the database or the way to it does into a MovingError; `name` is the database's."""
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise MovingError(f"the database {name} fails: {reason}", detail=reason) from error
