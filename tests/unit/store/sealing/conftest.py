from pathlib import Path

import pytest

from skerry.kit.clock import SystemClock
from skerry.store.sealing.keys import LocalKeys


@pytest.fixture
async def keys(tmp_path: Path) -> LocalKeys:
    """A provider with one key."""
    provider = LocalKeys(tmp_path / "pki" / "keys.json", SystemClock())
    await provider.add()
    return provider
