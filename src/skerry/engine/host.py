"""The Wasmtime host: one compiled JavaScript engine for a process.

Owns: compiling (through `compiled`), instantiating, the epoch ticker, and the limits of an instance. Does not own what
an instance does (`javascript`), pools, manifests or HTTP.
"""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson
from wasmtime import Linker, Store, WasiConfig

from skerry.engine import platform_calls
from skerry.engine.compiled import load_component, new_engine
from skerry.engine.instances import Surroundings
from skerry.engine.interruption import LOOK_TICKS, TICK_SECONDS, RunningCalls
from skerry.engine.javascript import Instance
from skerry.engine.manifest import FunctionManifest

#: A fresh instance has 9 MiB of linear memory: less could not start.
MEMORY_BYTES_MIN = 32 * 1024 * 1024
#: Tables of a store: the component has one, of 20,000 elements.
_TABLE_ELEMENTS_MAX = 100_000


class JavaScriptEngine:
    """The compiled engine component; a context manager that owns the ticker's thread, which looks at calls.

    Attributes:
        wasm_engine: Wasmtime's for other code, whose epoch rises every `TICK_SECONDS` within the block.
    """

    def __init__(self, component: Path, cache_dir: Path) -> None:
        """Load or compile the component; raises StartError (see `compiled.load_component`)."""
        self.wasm_engine = new_engine(epochs=True)
        self._engine = new_engine(epochs=False)
        self._running = RunningCalls()
        self._module = load_component(self._engine, component, cache_dir)  # which keeps its entry in the cache
        linker = Linker(self._engine)
        self._host_functions = platform_calls.bind(linker, self._module)
        self._prepared = linker.instantiate_pre(self._module)
        self._linker = linker  # owns the host functions
        self._stopping = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="ticker", daemon=True)

    def __enter__(self) -> Self:
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._ticker.join()

    def _tick(self) -> None:
        ticks = 0
        while not self._stopping.wait(TICK_SECONDS):
            self.wasm_engine.increment_epoch()
            ticks += 1
            if ticks % LOOK_TICKS == 0:
                self._running.look()

    def start(
        self,
        bundle: bytes,
        manifest: FunctionManifest,
        surroundings: Surroundings,
    ) -> Instance:
        """Return an instance that has loaded the bundle.

        Args:
            bundle: JavaScript as `js-engine/README.md` describes it, UTF-8.
            manifest: of the revision: its variables and its limits.
            surroundings: what the instance can reach.

        Raises:
            LoadError: the bundle throws, has no handler, or is over a limit.
        """
        store = Store(self._engine)
        store.set_wasi(WasiConfig())  # empty: it serves the clock alone
        store.set_limits(
            memory_size=max(manifest.memory_bytes_max, MEMORY_BYTES_MIN),
            table_elements=_TABLE_ELEMENTS_MAX,
            instances=1,
            tables=10,
            memories=1,
        )
        instance = Instance((store, self._prepared.instantiate(store)), self._running, manifest, surroundings)
        instance.load(bundle, orjson.dumps(manifest.env))
        return instance
