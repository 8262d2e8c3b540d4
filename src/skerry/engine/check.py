"""Does a bundle load? Asked by the control plane after each build, before a revision becomes ready.

The bundle runs in an instance like a worker's, in this process, bounded in time and memory, and is thrown away.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from skerry.engine.code import check_mode, read_code
from skerry.engine.errors import OverloadedError
from skerry.engine.host import JavaScriptEngine
from skerry.engine.instances import Surroundings
from skerry.engine.manifest import FunctionManifest
from skerry.kit.tasks import run_blocking

CONCURRENT_CHECKS_MAX = 2
#: Running and waiting together; each holds its binary.
CHECKS_MAX = 64
#: What is checked runs with the defaults.
_CHECKED = FunctionManifest(revision="check", function="check", artifact=Path("/dev/null"))


class BundleChecker:
    """Checks bundles; an asynchronous context manager. The engine is loaded at the first check."""

    def __init__(self, component: Path, engine_cache: Path) -> None:
        self._component = component
        self._engine_cache = engine_cache
        self._executor = ThreadPoolExecutor(CONCURRENT_CHECKS_MAX, thread_name_prefix="bundle-check")
        self._lock = threading.Lock()
        self._engine: JavaScriptEngine | None = None
        self._stack = ExitStack()
        self._checks = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._stack.close()

    async def check(self, wasm: bytes, *, is_filter: bool = False) -> None:
        """Load a function's Wasm binary as a worker would.

        Args:
            wasm: the binary.
            is_filter: whether it must be one that can see requests on their way, or one that answers them.

        Raises:
            LoadError: its message, line and column (in the bundle) say why it does not load.
            OverloadedError: `CHECKS_MAX` checks run or wait already.
            StartError: the engine itself cannot be loaded.
        """
        if self._checks >= CHECKS_MAX:
            raise OverloadedError(f"{CHECKS_MAX} bundles are being checked already")
        self._checks += 1
        try:
            await run_blocking(self._executor, lambda: self._check(wasm, is_filter=is_filter))
        finally:
            self._checks -= 1

    def _check(self, wasm: bytes, *, is_filter: bool) -> None:
        engine = self._loaded_engine()
        code = read_code(engine, wasm, self._engine_cache)
        check_mode(code, is_filter=is_filter)
        code.start(_CHECKED, Surroundings(log=_forget))

    def _loaded_engine(self) -> JavaScriptEngine:
        with self._lock:
            if self._engine is None:
                self._engine = self._stack.enter_context(JavaScriptEngine(self._component, self._engine_cache))
            return self._engine


def _forget(_level: int, _message: bytes) -> None:
    """Drop what a bundle says while it is checked: it says it again in each worker."""
