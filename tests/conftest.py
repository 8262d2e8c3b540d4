"""What all tests share."""

import pytest
from hypothesis import settings

#: `make fuzz`: tests that set no number of examples of their own take this many.
settings.register_profile("fuzz", max_examples=5000)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, the loop that Skerry is written for."""
    return "asyncio"


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their length: what was packed a second later is named alike in every process of a run."""
    return f"{argname}-{len(val)}-bytes" if isinstance(val, bytes) and len(val) > 8 else None
