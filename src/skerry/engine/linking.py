"""From a function's Wasm binary to the JavaScript that it carries.

A JavaScript function is deployed as a small module of its own, which links the shared engine when it is loaded, as
Shopify's Javy does in its dynamic mode. It imports one function, `init(address, length)` of
"skerry:js-engine/v1", exports its memory as "memory", and exports `start`, which calls `init` once with the place
of the bundle. This module plays the engine's part of that: it runs `start` in a bounded instance and returns the
bytes that `init` was shown.
"""

from wasmtime import Engine as WasmEngine
from wasmtime import Func as WasmFunction
from wasmtime import FuncType, Instance, Module, Store, Trap, ValType, WasmtimeError

from skerry.engine.calls import exported_function, exported_memory
from skerry.engine.errors import LoadError

#: The import that makes a module a JavaScript function; the version changes when the contract does.
ENGINE_IMPORT = ("skerry:js-engine/v1", "init")
#: A bundle may be 32 MiB (artifacts' limit is lower); the module needs one memory for it.
LINKED_MEMORY_BYTES_MAX = 64 * 1024 * 1024
#: `start` only calls `init`: whatever runs longer is not ours.
LINK_TICKS_MAX = 100


def linked_bundle(engine: WasmEngine, module: Module) -> bytes:
    """Run a function's Wasm binary and return its bundle (UTF-8).

    Args:
        engine: any engine with epoch interruption whose epoch is being raised (`interruption.TICK_SECONDS`).
        module: the binary, compiled.

    Raises:
        LoadError: it is not a module of this contract; the message says what is wrong with it.
    """
    _check_imports(module)
    _check_start(module)
    store = Store(engine)
    store.set_limits(memory_size=LINKED_MEMORY_BYTES_MAX, instances=1, memories=1, tables=1)
    store.set_epoch_deadline(LINK_TICKS_MAX)
    shown: list[tuple[int, int]] = []

    def show(address: int, length: int) -> None:
        if len(shown) < 2:
            shown.append((address, length))

    init = WasmFunction(store, FuncType([ValType.i32(), ValType.i32()], []), show)
    try:
        instance = Instance(store, module, [init])
        exported_function(store, instance, "start", 0)()
        memory = exported_memory(store, instance)
    except (Trap, WasmtimeError, TypeError) as error:
        raise LoadError(f"the function's binary cannot be linked: {error}") from error
    if len(shown) != 1:
        raise LoadError("the function's binary did not call init exactly once")
    address, length = (word & 0xFFFFFFFF for word in shown[0])
    try:
        return memory.read(address, length)
    except IndexError as error:
        raise LoadError(f"the function's binary shows a bundle outside of its memory: {error}") from error


def _check_start(module: Module) -> None:
    """Refuse a `start` of another signature: calls are made without a look at it."""
    types = [each.type for each in module.exports if each.name == "start"]
    if not all(isinstance(each, FuncType) and not each.params and not each.results for each in types):
        raise LoadError("the function's binary exports a start that is no function without parameters and results")


def _check_imports(module: Module) -> None:
    imports = [(each.module, each.name) for each in module.imports]
    if imports != [ENGINE_IMPORT]:
        named = ", ".join(f"{name!r} of {origin!r}" for origin, name in imports) or "nothing"
        raise LoadError(
            f"the function's binary imports {named}; a JavaScript function imports "
            f"{ENGINE_IMPORT[1]!r} of {ENGINE_IMPORT[0]!r} and nothing else"
        )
