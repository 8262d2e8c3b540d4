"""What all tests share."""

import pytest
from hypothesis import settings

#: `make fuzz`: tests that set no number of examples of their own take this many.
settings.register_profile("fuzz", max_examples=5000)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, the loop that Skerry is written for."""
    return "asyncio"
