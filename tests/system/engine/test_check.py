from pathlib import Path

import pytest

from skerry.artifacts.wasm_module import javascript_module
from skerry.engine.check import BundleChecker
from skerry.engine.errors import LoadError


async def test_a_bundle_that_loads_passes_and_one_that_throws_says_where(component: Path):
    cache = component.parents[2] / ".cache" / "engine"
    good = "var m = {default: {fetch() {}}};\nm;"
    async with BundleChecker(component, cache) as checker:
        await checker.check(javascript_module(good))
        with pytest.raises(LoadError) as failed:
            await checker.check(javascript_module("\n  throw new TypeError('at load');"))
        assert failed.value.message == "TypeError: at load"
        assert (failed.value.line, failed.value.column) == (2, 9)
        assert failed.value.stack == "@function.js:2:9"
        with pytest.raises(LoadError, match="is no WebAssembly; accepted is"):
            await checker.check(b"nothing")
